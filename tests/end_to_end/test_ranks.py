"""Two ranks train the same weights, and the weights that one process trains."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gps_seg.hooks.delta_checkpoint_hook import tuning_of
from gps_seg.methods import Plan
from tests.end_to_end.train_classifier_on_ranks import rank_classifier, write_data
from tests.end_to_end.train_on_ranks import rank_config
from tests.ranks import run_on_ranks
from tests.toy_runs import run, toy_config

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name('train_on_ranks.py')
TOOLS = Path(__file__).parents[2] / 'tools'


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('ranks')
    toy_config(folder)  # the data and the base, before two processes would write them
    run_on_ranks(SCRIPT, folder)
    return folder


@pytest.fixture(scope='module')
def ranks(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f'rank{rank}.pth', weights_only=True) for rank in range(2)]


# The schedule advances by iterations, the optimizer only by every third one.
@pytest.mark.filterwarnings('ignore:Detected call of `scheduler.step')
@pytest.mark.parametrize('key, counts', [('state', 1), ('accumulated', 3)])
def test_two_ranks_agree_bit_for_bit_and_with_one_process(
    key: str, counts: int, folder: Path, ranks: list[dict[str, Any]]
) -> None:
    config = rank_config(folder, f'one_{key}', batch_size=2)
    config.optim_wrapper.accumulative_counts = counts
    runner = run(config)
    alone = runner.model.state_dict()
    base = torch.load(folder / 'base.pth', weights_only=True)
    assert ranks[0][key].keys() == alone.keys()
    for name, tensor in ranks[0][key].items():
        assert torch.equal(tensor, ranks[1][key][name]), name
        moved = (alone[name] - base[name]).norm()
        assert (tensor - alone[name]).norm() <= 1e-3 * moved + 1e-6, name
    # In fp32 the order of the sum over batches may decide between entries that all but tie.
    selections = [Plan.load(folder / 'ranks' / 'plan.safetensors').selection]
    selections.append(tuning_of(runner).plan.selection)
    assert selections[0].overlap(selections[1]) > 0.999
    if key == 'state':
        runs = (folder / work_dir / 'metrics.json' for work_dir in ('one_state', 'ranks'))
        metrics = [json.loads(path.read_text()) for path in runs]
        assert metrics[0].keys() == metrics[1].keys()
        assert abs(metrics[0]['mDice'] - metrics[1]['mDice']) < 0.5


def test_two_ranks_train_the_classifier_that_one_process_trains(tmp_path: Path) -> None:
    write_data(tmp_path)
    run_on_ranks(SCRIPT.with_name('train_classifier_on_ranks.py'), tmp_path)
    first, second = (torch.load(tmp_path / f'rank{r}.pth', weights_only=True) for r in range(2))
    runner = run(rank_classifier(tmp_path, 'one', batch_size=4))
    alone, base = runner.model.state_dict(), torch.load(tmp_path / 'base.pth', weights_only=True)
    assert first.keys() == alone.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
        # Of the head no weights are in the file.
        moved = alone[name] - base[name] if 'head' not in name else alone[name]
        assert (tensor - alone[name]).norm() <= 1e-3 * moved.norm() + 1e-6, name
    selected = Plan.load(tmp_path / 'ranks' / 'plan.safetensors').selection
    assert selected.overlap(tuning_of(runner).plan.selection) > 0.999
    metrics = [json.loads((tmp_path / f / 'metrics.json').read_text()) for f in ('one', 'ranks')]
    assert metrics[0].keys() == metrics[1].keys()
    assert metrics[0]['top1'] == metrics[1]['top1']


def test_the_ranks_hold_the_same_selection(ranks: list[dict[str, Any]]) -> None:
    first, second = (rank['selection'] for rank in ranks)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_only_what_is_trained_is_reduced(folder: Path, ranks: list[dict[str, Any]]) -> None:
    trained = json.loads((folder / 'ranks' / 'metrics.json').read_text())['trainable']
    for rank in ranks:
        assert len(rank['reduced']) == 6
        assert set(rank['reduced']) == {trained}


def test_a_loss_of_nan_on_one_rank_stops_all(ranks: list[dict[str, Any]]) -> None:
    first, second = (rank['spoilt'] for rank in ranks)
    assert second.startswith('iteration 2 (epoch 1) of rank 1: the loss is not finite (loss_bce')
    assert first.startswith('iteration 2 (epoch 1) of rank 0: the gradient of ')
    assert 'or on another rank' in first


def test_unused_parameters_that_nothing_expects_are_refused(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        assert 'set find_unused_parameters = True in the config' in rank['unused']


def test_the_shell_tools_train_and_test_on_two_processes(tmp_path: Path) -> None:
    config = toy_config(tmp_path)
    config.train_cfg.max_epochs = 1
    config.default_hooks.report.zero_shot = False
    config.dump(tmp_path / 'config.py')
    shell('dist_train.sh', 'config.py', '2', '--work-dir', 'here', folder=tmp_path)
    metrics = json.loads((tmp_path / 'here' / 'metrics.json').read_text())
    weights = ['config.py', 'here/delta.safetensors', '2', '--json', 'again.json']
    output = shell('dist_test.sh', *weights, folder=tmp_path)
    assert output.count('on the test split') == 1
    again = json.loads((tmp_path / 'again.json').read_text())
    assert again == {name: metrics[name] for name in again}


@pytest.mark.parametrize('arguments', [[], ['config.py'], ['config.py', '--resume']])
def test_the_shell_tools_say_how_to_call_them(arguments: list[str]) -> None:
    for tool in ('dist_train.sh', 'dist_test.sh'):
        done = subprocess.run(
            [TOOLS / tool, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert 'CONFIG' in done.stderr
        assert 'GPUS' in done.stderr


def shell(tool: str, *arguments: str, folder: Path) -> str:
    environment = {**os.environ, 'PYTHON': sys.executable}
    done = subprocess.run(
        [TOOLS / tool, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
