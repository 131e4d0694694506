"""A training from the config to the files it leaves, and what it may not touch on the way."""

import json
import math
import re
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from gps_seg.cli import delta as delta_command
from gps_seg.cli import test as test_command
from gps_seg.cli import train as train_command
from gps_seg.cli.quiet_runner import QuietRunner
from gps_seg.delta import Delta
from gps_seg.hooks.delta_checkpoint_hook import tuning_of
from gps_seg.methods import Plan, Select
from gps_seg.runner.checkpoints import read_checkpoint
from gps_seg.runner.fine_tuning import stock_model
from gps_seg.selection import Selection, neuron_matrix
from gps_seg.tuning import Tuning
from tests.toy_runs import run, toy_config

# Whole trainings: with several workers this file starts first.
pytestmark = pytest.mark.slow

METRICS = ('mDice', 'mIoU', 'pooled_Dice', 'pooled_IoU', 'classes_mDice', 'classes_mIoU')


class StopAfter(Hook):
    """A crash at the end of an epoch's training, before its validation."""

    priority = 'VERY_LOW'

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def after_train_epoch(self, runner: Runner) -> None:
        if runner.epoch + 1 == self.epoch:
            raise KeyboardInterrupt


def states_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def final_state(work_dir: str) -> dict[str, Tensor]:
    return read_checkpoint(Path(work_dir) / 'last.pth')['state_dict']


def assert_only_the_plan_moved(
    state: dict[str, Tensor], base: dict[str, Tensor], selection: Selection
) -> int:
    """Nothing but selected entries, encoder biases and the head may differ. Returns how many do."""
    moved = 0
    for name, tensor in state.items():
        differs = tensor != base[name]
        if name in selection:
            assert not (neuron_matrix(differs) & ~selection[name].mask()).any(), name
            moved += int(differs.sum())
            continue
        encoder_bias = name.startswith('image_encoder') and name.endswith('bias')
        head = name.startswith(('mask_decoder', 'prompt_encoder.no_mask_embed'))
        if not head and (not encoder_bias or 'norm' in name):
            assert not differs.any(), name
    return moved


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tuning]:
    """A finished run of two epochs, shared by the tests that only look at it."""
    folder = tmp_path_factory.mktemp('finished')
    runner = run(toy_config(folder))
    return folder, tuning_of(runner)


def test_a_run_leaves_its_files_with_their_contents(finished: tuple[Path, Tuning]) -> None:
    folder, tuning = finished
    work_dir = folder / 'run'
    metrics = json.loads((work_dir / 'metrics.json').read_text())
    expected = {*METRICS, *(f'zero_shot/{name}' for name in METRICS), 'trainable', 'total'}
    assert expected <= metrics.keys()
    assert all(isinstance(value, int | float) for value in metrics.values())
    assert all(0 <= metrics[name] <= 100 for name in METRICS)
    assert metrics['delta_bytes'] == (work_dir / 'delta.safetensors').stat().st_size
    assert metrics['selected'] == tuning.plan.selection.num_entries
    saved = Plan.load(work_dir / 'plan.safetensors')
    assert saved.selection.overlap(tuning.plan.selection) == 1
    assert saved.provenance['criterion'] == 'supcon_gradient'
    assert (work_dir / 'overlays' / 'sheet.png').stat().st_size > 1000
    assert not list(work_dir.glob('*.tmp'))
    (log,) = work_dir.glob('*/*.log')
    text = log.read_text()
    for line in ('Selection [2/2 batches]', 'parameters are trained', 'get no gradient', 'eta: '):
        assert line in text
    assert text.index('Zero-shot, before any training') < text.index('Epoch(train)')
    assert not (work_dir / 'best_delta.safetensors').exists()


def test_the_delta_names_the_method_as_the_config_does_and_the_metric_of_its_score(
    finished: tuple[Path, Tuning], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = finished
    assert delta_command.main(['info', str(folder / 'run' / 'delta.safetensors')]) == 0
    told = capsys.readouterr().out
    assert re.search(r'method +GPS\(k=2\)\n', told)
    assert re.search(r'best_score +\d+\.\d+ \(mDice on the validation images\)\n', told)
    assert 'Select' not in told
    assert Plan.load(folder / 'run' / 'plan.safetensors').provenance['method'] == 'GPS'


def test_only_the_selection_the_biases_and_the_head_move(
    finished: tuple[Path, Tuning],
) -> None:
    folder, tuning = finished
    base = torch.load(folder / 'base.pth', weights_only=True)
    state = final_state(str(folder / 'run'))
    assert list(state) == list(base)
    assert assert_only_the_plan_moved(state, base, tuning.plan.selection) > 0
    last = read_checkpoint(folder / 'run' / 'last.pth')
    held = sum(t.numel() for s in last['optimizer']['state'].values() for t in s.values())
    trained = json.loads((folder / 'run' / 'metrics.json').read_text())['trainable']
    assert held <= 2 * trained + len(last['optimizer']['state'])


def test_the_delta_scores_as_the_run_did_and_so_does_the_merged_checkpoint(
    finished: tuple[Path, Tuning], tmp_path: Path
) -> None:
    folder, _ = finished
    config = folder / 'config.py'
    toy_config(folder).dump(config)
    expected = json.loads((folder / 'run' / 'metrics.json').read_text())
    delta = Delta.load(folder / 'run' / 'delta.safetensors')
    merged = torch.load(folder / 'base.pth', weights_only=True)
    delta.swap(merged)
    torch.save(merged, tmp_path / 'merged.pth')
    for weights in (folder / 'run' / 'delta.safetensors', tmp_path / 'merged.pth'):
        arguments = [str(config), str(weights), '--json', str(tmp_path / 'metrics.json')]
        pictures = ['--out', str(tmp_path / 'masks'), '--show-dir', str(tmp_path / 'pictures')]
        assert test_command.main([*arguments, *pictures]) == 0
        got = json.loads((tmp_path / 'metrics.json').read_text())
        assert got == {name: expected[name] for name in METRICS}
    for pictures_of in ('masks', 'pictures'):
        names = sorted(path.name for path in (tmp_path / pictures_of).iterdir())
        assert names == ['test0.png', 'test1.png', 'test2.png']


def test_resuming_after_a_crash_equals_never_having_stopped(tmp_path: Path) -> None:
    whole = toy_config(tmp_path, 'whole')
    whole.train_cfg.max_epochs = 4
    uninterrupted = run(whole)

    config = toy_config(tmp_path, 'stopped')
    config.train_cfg.max_epochs = 4
    config.custom_hooks = [dict(type=StopAfter, epoch=3)]
    with pytest.raises(KeyboardInterrupt):
        run(config)
    again = toy_config(tmp_path, 'stopped')
    again.train_cfg.max_epochs = 4
    again.resume = True
    again.experiment_name = 'resumed'
    selects = pytest.MonkeyPatch()
    selects.setattr(Select, 'plan', lambda *args: pytest.fail('selected again'))
    resumed = run(again)
    selects.undo()

    first, second = (read_checkpoint(Path(c.work_dir) / 'last.pth') for c in (whole, again))
    assert states_equal(first['state_dict'], second['state_dict'])
    assert first['param_schedulers'] == second['param_schedulers']
    assert first['optimizer']['param_groups'] == second['optimizer']['param_groups']
    for one, other in zip(
        first['optimizer']['state'].values(), second['optimizer']['state'].values(), strict=True
    ):
        assert states_equal(one, other)
    history = [
        runner.message_hub.get_scalar('val/mDice').data[0].tolist()
        for runner in (uninterrupted, resumed)
    ]
    assert history[0] == history[1]
    assert len(history[0]) == 4
    deltas = [Delta.load(Path(c.work_dir) / 'delta.safetensors') for c in (whole, again)]
    assert states_equal(dict(deltas[0].values), dict(deltas[1].values))
    assert states_equal(dict(deltas[0].whole), dict(deltas[1].whole))
    metrics = [json.loads((Path(c.work_dir) / 'metrics.json').read_text()) for c in (whole, again)]
    timeless = [
        {k: v for k, v in m.items() if not k.endswith('_seconds') and k != 'delta_bytes'}
        for m in metrics
    ]
    assert timeless[0] == timeless[1]


def test_resuming_a_finished_run_reports_it_again(
    finished: tuple[Path, Tuning], tmp_path: Path
) -> None:
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    files = [tmp_path / 'run' / name for name in ('delta.safetensors', 'metrics.json')]
    before = [file.read_bytes() for file in files]
    files[1].unlink()
    config = toy_config(tmp_path)
    config.resume, config.experiment_name = True, 'again'
    run(config)
    assert files[0].read_bytes() == before[0]
    metrics = [json.loads(text) for text in (before[1], files[1].read_bytes())]
    assert all(metrics[0][name] == metrics[1][name] for name in METRICS)


def test_the_zero_shot_score_and_the_probe_disturb_nothing(
    finished: tuple[Path, Tuning], tmp_path: Path
) -> None:
    without = toy_config(tmp_path, 'without')
    without.default_hooks.report.update(zero_shot=False, num_pictures=0)
    without.default_hooks.fine_tune.probe = False
    run(without)
    states = [final_state(str(path)) for path in (finished[0] / 'run', tmp_path / 'without')]
    assert states_equal(*states)
    assert 'zero_shot/mDice' not in json.loads((tmp_path / 'without/metrics.json').read_text())


# The schedule advances by iterations, the optimizer only by every second one.
@pytest.mark.filterwarnings('ignore:Detected call of `scheduler.step')
def test_nothing_else_moves_with_ema_weight_decay_clipping_and_accumulation(
    tmp_path: Path,
) -> None:
    config = toy_config(tmp_path)
    config.optim_wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.5),
        clip_grad=dict(max_norm=1.0),
        accumulative_counts=2,
    )
    config.custom_hooks = [dict(type='EMAHook', momentum=0.3)]
    config.train_cfg.max_epochs = 1
    config.train_dataloader.batch_size = 1
    runner = run(config)
    base = torch.load(tmp_path / 'base.pth', weights_only=True)
    selection = tuning_of(runner).plan.selection
    saved = read_checkpoint(tmp_path / 'run' / 'last.pth')
    # With EMA, the checkpoint's state dict is the average and `ema_state_dict` holds the source.
    assert assert_only_the_plan_moved(saved['state_dict'], base, selection) > 0
    source = {k.removeprefix('module.'): v for k, v in saved['ema_state_dict'].items()}
    source.pop('steps')
    assert assert_only_the_plan_moved(source, base, selection) > 0
    assert not states_equal(source, saved['state_dict'])
    # The delta is what was validated: the average, not the last step.
    delta = Delta.load(tmp_path / 'run' / 'delta.safetensors')
    tuned = {name: tensor.clone() for name, tensor in base.items()}
    delta.swap(tuned)
    assert states_equal(tuned, saved['state_dict'])
    assert assert_only_the_plan_moved(tuned, base, selection) > 0


OTHERS: dict[str, dict[str, Any]] = {
    'Linear': {},
    'Bias': {},
    'Random': {},
    'Full': {},
    'LoRA': {},
    'Adapter': {'placement': 'houlsby'},
    'SAMAdapter': {},
    'SPTAdapter': {'k': 2},
    'SPTLoRA': {'k': 2},
    'SSF': {},
}


@pytest.mark.parametrize('method', OTHERS)
def test_every_other_method_runs_and_leaves_a_delta_that_fits_its_base(
    method: str, tmp_path: Path
) -> None:
    config = toy_config(tmp_path)
    config.default_hooks.fine_tune.method = dict(type=method, **OTHERS[method])
    config.train_cfg.max_epochs = 1
    runner = run(config)
    base = torch.load(tmp_path / 'base.pth', weights_only=True)
    before = {name: tensor.clone() for name, tensor in base.items()}
    undo = Delta.load(tmp_path / 'run' / 'delta.safetensors').swap(base)
    assert states_equal(base, dict(stock_model(runner).state_dict()))
    undo.swap(base)
    assert states_equal(base, before)


def test_the_loss_goes_down_and_the_discs_are_found(tmp_path: Path) -> None:
    config = toy_config(tmp_path, k=8)
    config.train_cfg.max_epochs = 25
    config.default_hooks.fine_tune.probe = False
    config.train_cfg.val_interval = 25
    runner = run(config)
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert losses[-3:].mean() < 0.6 * losses[:3].mean()
    metrics = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert metrics['mDice'] > metrics['zero_shot/mDice'] + 20
    assert math.isclose(
        metrics['pooled_IoU'],
        100 * (d := metrics['pooled_Dice'] / 100) / (2 - d),
        rel_tol=1e-9,
    )


def test_a_work_dir_with_a_run_is_not_mixed_with_another(
    finished: tuple[Path, Tuning], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = finished
    config = folder / 'again.py'
    toy_config(folder).dump(config)
    assert train_command.main([str(config)]) == 2
    message = capsys.readouterr().err
    assert 'already holds a run' in message
    assert '--resume' in message
    assert '--work-dir' in message


def test_resuming_with_another_base_or_method_or_schedule_is_refused(
    finished: tuple[Path, Tuning], tmp_path: Path
) -> None:
    folder, _ = finished
    last = str(folder / 'run' / 'last.pth')
    for change, message in (
        ({'method': 'Linear'}, 'was trained with the method'),
        ({'base': 5}, 'was trained on the base'),
        ({'epochs': 9}, 'a schedule of 2 epochs'),
    ):
        config = toy_config(tmp_path, work_dir=f'again_{message}')
        config.model.checkpoint = str(folder / 'base.pth')
        if 'method' in change:
            config.default_hooks.fine_tune.method = dict(type='Linear')
        if 'base' in change:
            config.model.checkpoint = str(tmp_path / 'other.pth')
            other = torch.load(folder / 'base.pth', weights_only=True)
            other['image_encoder.pos_embed'][0, 0, 0, 0] += 1
            torch.save(other, tmp_path / 'other.pth')
        config.train_cfg.max_epochs = change.get('epochs', 2)
        config.resume, config.load_from = True, last
        with pytest.raises(ValueError, match=message):
            run(config)


def test_a_checkpoint_can_be_resumed_in_another_folder_or_after_a_move(tmp_path: Path) -> None:
    config = toy_config(tmp_path, 'first')
    config.custom_hooks = [dict(type=StopAfter, epoch=2)]
    with pytest.raises(KeyboardInterrupt):
        run(config)
    (tmp_path / 'first').rename(tmp_path / 'moved')
    toy_config(tmp_path, 'moved').dump(tmp_path / 'moved.py')
    checkpoint = str(tmp_path / 'moved' / 'last.pth')
    elsewhere = ['--work-dir', str(tmp_path / 'elsewhere'), '--resume', checkpoint]
    assert train_command.main([str(tmp_path / 'moved.py'), *elsewhere]) == 0
    assert train_command.main([str(tmp_path / 'moved.py'), '--resume']) == 0
    deltas = [Delta.load(tmp_path / name / 'delta.safetensors') for name in ('moved', 'elsewhere')]
    assert states_equal(dict(deltas[0].values), dict(deltas[1].values))
    assert (tmp_path / 'elsewhere' / 'plan.safetensors').is_file()
    # A folder with another finished run is not taken for the one that is resumed.
    toy_config(tmp_path, 'elsewhere').dump(tmp_path / 'elsewhere.py')
    assert train_command.main([str(tmp_path / 'elsewhere.py'), '--resume', checkpoint]) == 2


def test_weights_that_load_from_names_are_the_base_before_the_selection(
    finished: tuple[Path, Tuning], tmp_path: Path
) -> None:
    config = toy_config(tmp_path)
    config.load_from, config.model.checkpoint = config.model.checkpoint, None
    tuning = tuning_of(run(config))
    assert tuning.base == finished[1].base
    assert tuning.fresh == frozenset()
    assert tuning.plan.selection.overlap(finished[1].plan.selection) == 1
    # The runner did not load it a second time, over the trained weights.
    assert states_equal(final_state(config.work_dir), final_state(str(finished[0] / 'run')))


def test_validating_alone_leaves_no_delta(tmp_path: Path) -> None:
    config = toy_config(tmp_path)
    runner = QuietRunner.from_cfg(config)
    assert 0 <= runner.val()['mDice'] <= 100
    assert not list((tmp_path / 'run').glob('*.safetensors'))


def test_a_dry_run_counts_estimates_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toy_config(tmp_path, 'never')
    config.dump(tmp_path / 'config.py')
    assert train_command.main([str(tmp_path / 'config.py'), '--dry-run']) == 0
    output = capsys.readouterr().out
    assert 'train 6, validation 3, test 3 images' in output
    assert 'parameters are trained' in output
    assert 'Training: about' in output
    # The process of the tests holds torch at least, and no more than it has ever held.
    peak = int(re.search(r'Peak memory: about ([\d,]+) MiB of the pro', output)[1].replace(',', ''))  # type: ignore[index]
    assert 200 < peak <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 + 1
    assert not (tmp_path / 'never').exists()


def test_the_command_runs_from_any_folder_with_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    toy_config(tmp_path).dump(tmp_path / 'config.py')
    monkeypatch.chdir(tmp_path)
    arguments = ['config.py', '--work-dir', 'here', '--cfg-options', 'train_cfg.max_epochs=1']
    assert train_command.main(arguments) == 0
    assert json.loads((tmp_path / 'here' / 'metrics.json').read_text())['epochs'] == 1
    printed = capfd.readouterr()
    assert 'Done in' in printed.out
    assert 'Hooks will be executed' not in printed.out + printed.err


def test_user_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy_config(tmp_path).dump(tmp_path / 'config.py')
    config = str(tmp_path / 'config.py')
    for arguments, message in (
        (['absent.py'], 'no config absent.py'),
        ([config, '--resume'], 'holds no last.pth'),
        ([config, '--resume', 'absent.pth'], 'no checkpoint absent.pth'),
        ([config, '--launcher', 'pytorch'], 'nothing has started the processes'),
    ):
        assert train_command.main(arguments) == 2
        errors = capsys.readouterr().err.strip().splitlines()
        assert len(errors) == 1
        assert message in errors[0]


def test_a_delta_in_bf16_is_about_half_and_the_report_scores_what_it_stores(
    finished: tuple[Path, Tuning], tmp_path: Path
) -> None:
    whole_size = (finished[0] / 'run' / 'delta.safetensors').stat().st_size
    config = toy_config(tmp_path)
    config.train_cfg.max_epochs = 1
    config.default_hooks.delta.dtype = 'bfloat16'
    runner = run(config)
    path = tmp_path / 'run' / 'delta.safetensors'
    assert path.stat().st_size < 0.6 * whole_size
    base = torch.load(tmp_path / 'base.pth', weights_only=True)
    Delta.load(path).swap(base)
    assert states_equal(base, dict(stock_model(runner).state_dict()))
    for name, values in Delta.load(path).whole.items():
        assert torch.equal(values, values.bfloat16().float()), name
