"""Trainings that are killed, and what is left of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from gps_seg.cli import train as train_command
from gps_seg.delta import Delta
from gps_seg.runner.checkpoints import read_checkpoint
from tests.toy_runs import run, toy_config

SCRIPT = Path(__file__).with_name('kill_a_training.py')
BEST = 'best_delta.safetensors'


class StopsAfterValidation(Hook):
    """A crash behind the validation of an epoch, before or after `last.pth` is written."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if runner.epoch == self.epoch:
            raise KeyboardInterrupt


def stop(config: Config, *, epoch: int, priority: str) -> None:
    """Train until behind the validation of an epoch."""
    stopped = config.copy()
    stopped.custom_hooks = [dict(type=StopsAfterValidation, epoch=epoch, priority=priority)]
    stopped.experiment_name += '_stopped'
    with pytest.raises(KeyboardInterrupt):
        run(stopped)


def values(folder: Path) -> dict[str, Any]:
    """What the training moved, as lists; and the weights, optimizer and schedule at its end."""
    delta = Delta.load(folder / 'delta.safetensors')
    (last,) = (folder / name for name in ('last.pth', 'epoch_3.pth') if (folder / name).is_file())
    saved = read_checkpoint(last)
    state = {key: saved[key] for key in ('state_dict', 'optimizer', 'param_schedulers')}
    return plain({'values': dict(delta.values), 'whole': dict(delta.whole), **state})


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if not callable(item)}
    return value.tolist() if isinstance(value, Tensor) else value


@pytest.mark.full
@pytest.mark.slow
def test_killed_trainings_end_as_if_nothing_had_happened(tmp_path: Path) -> None:
    kills = int(os.environ.get('GPS_SEG_KILLS', '20'))
    environment = {**os.environ, 'TMPDIR': str(tmp_path)}
    command = [sys.executable, str(SCRIPT), '--kills', str(kills)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=60 + 20 * kills,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout)
    assert report['kills'] >= kills
    assert len(report['where']) == 10
    assert not os.listdir(tmp_path)


@pytest.mark.slow
def test_a_folder_with_a_best_epoch_but_no_checkpoint_can_be_used_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toy_config(tmp_path)
    config.default_hooks.report.num_pictures = 0
    config.dump(tmp_path / 'config.py')
    stop(config, epoch=1, priority='NORMAL')
    work_dir = tmp_path / 'run'
    assert (work_dir / BEST).is_file()
    assert not (work_dir / 'last.pth').exists()
    capsys.readouterr()
    assert train_command.main([str(tmp_path / 'config.py'), '--resume']) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'holds no last.pth; start without --resume' in line
    assert train_command.main([str(tmp_path / 'config.py')]) == 0
    assert not (work_dir / BEST).exists()
    assert train_command.main([str(tmp_path / 'config.py')]) == 2  # a run now


@pytest.mark.slow
def test_a_checkpoint_that_no_file_names_is_resumed_and_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toy_config(tmp_path)
    config.train_cfg.max_epochs = 3
    config.default_hooks.report.num_pictures = 0
    config.dump(tmp_path / 'config.py')
    run(config)
    expected = values(tmp_path / 'run')
    shutil.rmtree(tmp_path / 'run')
    stop(config, epoch=1, priority='LOWEST')
    (tmp_path / 'run' / 'last_checkpoint').unlink()  # a kill before it was written
    assert train_command.main([str(tmp_path / 'config.py')]) == 2
    assert 'already holds a run (last.pth' in capsys.readouterr().err
    config.resume, config.experiment_name = True, 'resumed'
    resumed = run(config)
    assert len(resumed.message_hub.get_scalar('val/mDice').data[0]) == 3
    assert values(tmp_path / 'run') == expected


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize('epoch', [1, 2])
def test_a_run_with_the_stock_checkpoint_hook_alone_resumes_exactly(
    epoch: int, tmp_path: Path
) -> None:
    config = toy_config(tmp_path)
    config.train_cfg.max_epochs = 3
    config.default_hooks.report.num_pictures = 0
    config.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1, max_keep_ckpts=1)
    config.dump(tmp_path / 'config.py')
    run(config)
    expected = values(tmp_path / 'run')
    metrics = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    shutil.rmtree(tmp_path / 'run')
    stop(config, epoch=epoch, priority='LOWEST')
    (tmp_path / 'run').rename(tmp_path / 'moved')
    command = [str(tmp_path / 'config.py'), '--work-dir', str(tmp_path / 'moved'), '--resume']
    assert train_command.main(command) == 0
    assert values(tmp_path / 'moved') == expected
    again = json.loads((tmp_path / 'moved' / 'metrics.json').read_text())
    assert again['best_epoch'] == metrics['best_epoch']
    assert again['val/best'] == metrics['val/best']


@pytest.mark.full
@pytest.mark.slow
def test_the_best_epoch_comes_from_the_run_that_is_resumed_not_from_a_killed_try(
    tmp_path: Path,
) -> None:
    config = toy_config(tmp_path)
    config.default_hooks.report.num_pictures = 0
    config.dump(tmp_path / 'config.py')
    stop(config, epoch=1, priority='LOWEST')
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    (elsewhere / BEST).write_bytes(b'the second epoch of a try that was killed')
    command = [str(tmp_path / 'config.py'), '--resume', str(tmp_path / 'run' / 'last.pth')]
    assert train_command.main([*command, '--work-dir', str(elsewhere)]) == 0
    assert train_command.main([*command, '--work-dir', str(tmp_path / 'run')]) == 0
    assert values(elsewhere) == values(tmp_path / 'run')
