"""Selecting alone and training from the plan is selecting and training in one go."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from gps_seg.cli import select as select_command
from gps_seg.hooks.delta_checkpoint_hook import tuning_of
from gps_seg.methods import Plan, Select
from gps_seg.runner.checkpoints import read_checkpoint
from gps_seg.selection import Selection
from tests.toy_runs import run, toy_config

pytestmark = pytest.mark.slow


def short_config(folder: Path, work_dir: str, **method: Any) -> Config:
    """The toy run with a fresh neck, without what costs time and changes nothing.

    What is fresh draws its numbers anew in every process, and the selection depends on it.
    """
    config = toy_config(folder, work_dir, **method)
    config.model.fresh = ['image_encoder.neck']
    config.train_cfg.max_epochs = 1
    config.default_hooks.fine_tune.probe = False
    config.default_hooks.report.update(zero_shot=False, num_pictures=0)
    return config


@pytest.fixture(scope='module')
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config and the plan that the command line makes of it."""
    folder = tmp_path_factory.mktemp('planned')
    short_config(folder, 'never').dump(folder / 'config.py')
    arguments = [str(folder / 'config.py'), '-o', str(folder / 'plan.safetensors')]
    assert select_command.main(arguments) == 0
    return folder


def same_plan(first: Path, second: Path) -> bool:
    # Not by bytes: safetensors writes the metadata in any order.
    one, other = Plan.load(first), Plan.load(second)
    return one.selection.overlap(other.selection) == 1 and one.provenance == other.provenance


def no_selecting(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Select, 'plan', lambda *args: pytest.fail('selected again'))


def test_training_from_a_plan_equals_selecting_and_training_in_one_go(
    planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_one_go = run(short_config(planned, 'in_one_go'))
    config = short_config(planned, 'from_plan')
    config.default_hooks.fine_tune.plan = str(planned / 'plan.safetensors')
    no_selecting(monkeypatch)
    run(config)

    first, second = (
        read_checkpoint(planned / name / 'last.pth') for name in ('in_one_go', 'from_plan')
    )
    assert first['state_dict'].keys() == second['state_dict'].keys()
    for name, tensor in first['state_dict'].items():
        assert torch.equal(tensor, second['state_dict'][name]), name
    assert first['fine_tune']['plan']['provenance'] == second['fine_tune']['plan']['provenance']
    tuning = tuning_of(in_one_go)
    plan = Plan.load(planned / 'plan.safetensors')
    assert plan.selection.overlap(tuning.plan.selection) == 1
    # What a run leaves is a plan as well.
    left = [planned / name / 'plan.safetensors' for name in ('in_one_go', 'from_plan')]
    assert all(same_plan(path, planned / 'plan.safetensors') for path in left)


def test_selecting_alone_leaves_the_plan_and_nothing_else(planned: Path) -> None:
    assert not (planned / 'never').exists()
    assert {path.name for path in planned.iterdir()} >= {'plan.safetensors', 'config.py'}
    provenance = Plan.load(planned / 'plan.safetensors').provenance
    told = {'criterion', 'granularity', 'k', 'seed', 'num_images', 'base', 'version'}
    assert told <= provenance.keys()
    assert provenance['num_images'] == '6'


def test_the_command_says_what_it_made_and_how_to_train_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short_config(tmp_path, 'never').dump(tmp_path / 'config.py')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['gps-seg select'])
    arguments = ['config.py', '--out', 'plans/k4.safetensors']
    options = ['--cfg-options', 'default_hooks.fine_tune.method.k=4']
    assert select_command.main([*arguments, *options]) == 0
    printed = capsys.readouterr().out
    plan = Plan.load(tmp_path / 'plans' / 'k4.safetensors')
    assert plan.provenance['k'] == '4'
    assert f'{plan.selection.num_entries:,} entries of {len(plan.selection)} weights' in printed
    assert printed.splitlines()[-1] == (
        '  gps-seg train config.py --cfg-options default_hooks.fine_tune.plan=plans/k4.safetensors'
    )
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {'base.pth', 'discs', 'config.py', 'plans'}
    assert [path.name for path in (tmp_path / 'plans').iterdir()] == ['k4.safetensors']


def test_an_existing_plan_is_overwritten_only_when_asked(
    planned: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, plan = str(planned / 'config.py'), planned / 'old.safetensors'
    plan.write_bytes(b'old')
    with monkeypatch.context() as patch:
        no_selecting(patch)  # refused before the pass
        assert select_command.main([config, '-o', str(plan)]) == 2
    assert 'exists; choose another name, or overwrite with --force' in capsys.readouterr().err
    assert plan.read_bytes() == b'old'
    assert select_command.main([config, '-o', str(plan), '--force']) == 0
    assert same_plan(plan, planned / 'plan.safetensors')


def test_a_config_that_names_a_plan_can_be_selected_for_anew(planned: Path) -> None:
    option = 'default_hooks.fine_tune.plan=absent.safetensors'
    out = planned / 'anew.safetensors'
    arguments = [str(planned / 'config.py'), '-o', str(out), '--cfg-options', option]
    assert select_command.main(arguments) == 0
    assert same_plan(out, planned / 'plan.safetensors')


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['-o', 'plan.pth'], 'name the plan plan.safetensors'),
        (
            [
                '-o',
                'new.safetensors',
                '--cfg-options',
                'default_hooks.fine_tune.method.type=Bias',
                'default_hooks.fine_tune.method._delete_=True',
            ],
            'Bias decides nothing in advance, so there is no plan',
        ),
    ],
)
def test_what_makes_no_plan_is_refused_in_one_line(
    arguments: list[str],
    message: str,
    planned: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(planned)
    before = {path.name for path in planned.iterdir()}
    assert select_command.main(['config.py', *arguments]) == 2
    errors = capsys.readouterr().err
    assert errors.count('\n') == 1
    assert message in errors
    assert {path.name for path in planned.iterdir()} == before


def test_a_plan_for_another_base_or_architecture_is_refused(planned: Path, tmp_path: Path) -> None:
    config = short_config(planned, 'other_base')
    other = torch.load(planned / 'base.pth', weights_only=True)
    other['image_encoder.pos_embed'][0, 0, 0, 0] += 1
    torch.save(other, tmp_path / 'other.pth')
    config.model.checkpoint = str(tmp_path / 'other.pth')
    config.default_hooks.fine_tune.plan = str(planned / 'plan.safetensors')
    with pytest.raises(ValueError, match=r'was made for the base .* now are'):
        run(config)

    plan = Plan.load(planned / 'plan.safetensors')
    by_hand = Selection({f'else.{name}': e for name, e in plan.selection.items()})
    by_hand.save(tmp_path / 'by_hand.safetensors')
    config = short_config(planned, 'other_model')
    config.default_hooks.fine_tune.plan = str(tmp_path / 'by_hand.safetensors')
    with pytest.raises(ValueError, match='was made for another architecture'):
        run(config)


def test_a_resumed_run_keeps_the_selection_of_its_checkpoint(planned: Path, tmp_path: Path) -> None:
    config = short_config(tmp_path, 'run')
    Plan.load(planned / 'plan.safetensors').save(tmp_path / 'plan.safetensors')
    config.default_hooks.fine_tune.plan = str(tmp_path / 'plan.safetensors')
    run(config)
    (tmp_path / 'plan.safetensors').unlink()
    again = short_config(tmp_path, 'run')
    again.default_hooks.fine_tune.plan = str(tmp_path / 'plan.safetensors')
    again.resume, again.experiment_name = True, 'resumed'
    tuning = tuning_of(run(again))
    assert tuning.plan.selection.overlap(Plan.load(planned / 'plan.safetensors').selection) == 1
    assert json.loads((tmp_path / 'run' / 'metrics.json').read_text())['selection_seconds'] == 0


def test_a_plan_of_added_modules_is_made_and_trained_from(
    planned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(planned)
    lora = [
        'default_hooks.fine_tune.method._delete_=True',
        'default_hooks.fine_tune.method.type=LoRA',
    ]
    arguments = ['config.py', '-o', 'lora.safetensors', '--cfg-options', *lora]
    assert select_command.main(arguments) == 0
    plan = Plan.load(planned / 'lora.safetensors')
    assert f'Selected {len(plan.added)} added modules' in capsys.readouterr().out
    config = short_config(planned, 'lora', type='LoRA')
    config.default_hooks.fine_tune.method = dict(type='LoRA')
    config.default_hooks.fine_tune.plan = str(planned / 'lora.safetensors')
    assert tuning_of(run(config)).plan.added == plan.added
