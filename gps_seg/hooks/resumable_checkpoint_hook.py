"""Checkpoints that training can go on from exactly."""

import os
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from gps_seg.files import write_content
from gps_seg.runner.checkpoints import plain, with_objects, without_objects

LAST = 'last.pth'


@HOOKS.register_module()
class ResumableCheckpointHook(Hook):
    """Writes `last.pth` after every `interval` epochs, once the epoch is wholly done.

    Where the epoch is validated, it is written after the validation: a run that stops in between
    repeats the epoch, so that no validation is ever skipped. The file is written beside and
    renamed; an interruption leaves the one before.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval
        self._training = False

    def before_train(self, runner: Runner) -> None:
        self._training = True

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
        meta: dict[str, Any] = {
            'epoch': epoch,
            'iter': runner.iter,
            'max_epochs': runner.max_epochs,
        }
        folder = Path(runner.work_dir)
        runner.save_checkpoint(runner.work_dir, f'{LAST}.tmp', meta=meta)
        if runner.rank == 0:
            os.replace(folder / f'{LAST}.tmp', folder / LAST)
            write_content(folder / 'last_checkpoint', str(folder / LAST))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint['message_hub'] = without_objects(checkpoint['message_hub'])
        checkpoint['meta'] = plain(checkpoint['meta'])
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


def _is_validated(runner: Runner, epoch: int) -> bool:
    loop = runner.train_loop
    return (
        runner.val_loop is not None
        and epoch >= loop.val_begin
        and (epoch % loop.val_interval == 0 or epoch == loop.max_epochs)
    )
