"""Checkpoints that training can go on from exactly."""

from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from gps_seg.files import SEALED, remove_leftovers, seal, write_atomically, write_content
from gps_seg.runner.checkpoints import LAST, plain, safe_globals, with_objects, without_objects
from gps_seg.runner.resume_checks import check_settings, settings_of


@HOOKS.register_module()
class ResumableCheckpointHook(Hook):
    """Writes `last.pth` after every `interval` epochs, once the epoch is wholly done.

    Where the epoch is validated, it is written after the validation: a run that stops in between
    repeats the epoch, so that no validation is ever skipped. The file is written beside and
    renamed; an interruption leaves the one before. It carries a digest of itself, which
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

    def after_train_epoch(self, runner: Runner) -> None:
        # The runner counts the epoch only after this hook.
        if not _is_validated(runner, runner.epoch + 1):
            self._save(runner, runner.epoch + 1)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self._training:
            self._save(runner, runner.epoch)

    def after_train(self, runner: Runner) -> None:
        self._training = False

    def _save(self, runner: Runner, epoch: int) -> None:
        if epoch % self.interval and epoch != runner.max_epochs:
            return
        if runner.rank == 0:
            path = Path(runner.work_dir) / LAST
            write_atomically(path, lambda temporary: self._write(runner, epoch, temporary))
            self._name_last(runner)

    def _name_last(self, runner: Runner) -> None:
        """Tell MMEngine's own resume where to go on from."""
        path = Path(runner.work_dir) / LAST
        write_content(path.with_name('last_checkpoint'), str(path))

    def _write(self, runner: Runner, epoch: int, path: Path) -> None:
        meta = {'epoch': epoch, 'iter': runner.iter, 'max_epochs': runner.max_epochs}
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
        checkpoint['meta'] = plain({**checkpoint['meta'], 'settings': settings_of(runner)})
        checkpoint['param_schedulers'] = plain(checkpoint['param_schedulers'])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if 'message_hub' in checkpoint:
            checkpoint['message_hub'] = with_objects(checkpoint['message_hub'])
        planned = checkpoint.get('meta', {}).get('max_epochs')
        if runner._resume and planned is not None and planned != runner.max_epochs:
            raise ValueError(
                f'the checkpoint belongs to a schedule of {planned} epochs, the config now says '
                f'{runner.max_epochs}; its learning rates would be wrong from here on. Resume with '
                f'max_epochs={planned}, or start a new run with the longer schedule'
            )
        saved = checkpoint.get('meta', {}).get('settings')
        if runner._resume and saved is not None:
            check_settings(saved, settings_of(runner))


def _is_validated(runner: Runner, epoch: int) -> bool:
    loop = runner.train_loop
    return (
        runner.val_loop is not None
        and epoch >= loop.val_begin
        and (epoch % loop.val_interval == 0 or epoch == loop.max_epochs)
    )
