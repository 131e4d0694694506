"""Checkpoints that training can go on from exactly."""

from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from gps_seg.files import SEALED, remove_leftovers, seal, write_atomically, write_content
from gps_seg.runner.checkpoints import LAST, plain, safe_globals, with_objects, without_objects
from gps_seg.runner.loops import is_validated, num_done, planned, unit_of, validation_interval
from gps_seg.runner.resume_checks import check_resume, told_by


@HOOKS.register_module()
class ResumableCheckpointHook(Hook):
    """Writes `last.pth` after every `interval` epochs, once the epoch is wholly done.

    In a loop of iterations, `interval` counts its `val_interval` instead. Where the epoch, or the
    iteration, is validated, it is written after the validation: a run that stops in between goes
    back to the checkpoint before, so that no validation is ever skipped. The file is written beside
    and renamed; an interruption leaves the one before. It carries a digest of itself, which
    `read_checkpoint` checks.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval
        self._training = False
        self._sealing = False

    def before_run(self, runner: Runner) -> None:
        # For MMEngine's loader: without them it would unpickle files of its own hooks unsafely.
        torch.serialization.add_safe_globals(safe_globals())
        if runner.rank == 0 and Path(runner.work_dir).is_dir():
            remove_leftovers(runner.work_dir)

    def before_train(self, runner: Runner) -> None:
        self._training = True
        if runner._resume and runner.rank == 0 and (Path(runner.work_dir) / LAST).is_file():
            # A kill may have come between the two files, or the folder was moved.
            self._name_last(runner)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        # The runner counts the iteration only after this hook.
        if unit_of(runner) == 'iter' and not is_validated(runner, runner.iter + 1):
            self._save(runner, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        # The runner counts the epoch only after this hook.
        if unit_of(runner) == 'epoch' and not is_validated(runner, runner.epoch + 1):
            self._save(runner, runner.epoch + 1)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self._training:
            self._save(runner, num_done(runner))

    def after_train(self, runner: Runner) -> None:
        self._training = False

    def _save(self, runner: Runner, done: int) -> None:
        every = self.interval
        if unit_of(runner) == 'iter':
            every *= validation_interval(runner, done)
        if done % every and done != planned(runner):
            return
        if runner.rank == 0:
            path = Path(runner.work_dir) / LAST
            write_atomically(path, lambda temporary: self._write(runner, done, temporary))
            self._name_last(runner)

    def _name_last(self, runner: Runner) -> None:
        """Tell MMEngine's own resume where to go on from."""
        path = Path(runner.work_dir) / LAST
        write_content(path.with_name('last_checkpoint'), str(path))

    def _write(self, runner: Runner, done: int, path: Path) -> None:
        by_epoch = unit_of(runner) == 'epoch'
        meta = {
            'epoch': done if by_epoch else runner.epoch,
            'iter': runner.iter if by_epoch else done,
        }
        self._sealing = True
        try:
            runner.save_checkpoint(str(path.parent), path.name, meta=meta)
        finally:
            self._sealing = False
        seal(path)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if self._sealing:
            checkpoint[SEALED] = True
        checkpoint['message_hub'] = without_objects(checkpoint['message_hub'])
        checkpoint['meta'] = plain({**checkpoint['meta'], **told_by(runner)})
        checkpoint['param_schedulers'] = plain(checkpoint['param_schedulers'])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if 'message_hub' in checkpoint:
            checkpoint['message_hub'] = with_objects(checkpoint['message_hub'])
        if runner._resume:
            check_resume(runner, checkpoint)
