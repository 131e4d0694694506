"""Lets a resume take changed settings, where that is safe."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from gps_seg.runner.resume_checks import settings_of
from gps_seg.runner.resume_override import (
    LENGTHS,
    check_length,
    replan_schedules,
    taken_changes,
)


@HOOKS.register_module()
class ResumeOverrideHook(Hook):
    """Takes another length of the training, or another schedule, on `--resume --override`.

    The learning rate then goes on as if the run had been planned so from its start. Every other
    change is refused with the reason. What was done stands in the log.
    """

    # Before the hooks that compare the settings.
    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._changes: dict[str, str] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        meta = checkpoint.get('meta', {})
        saved = meta.get('settings')
        if not runner._resume or saved is None:
            return
        self._changes = taken_changes(saved, settings_of(runner))
        check_length(runner, meta)
        meta['settings'] = settings_of(runner)
        # The checkpoint's plan is now that of the config.
        for length in LENGTHS:
            if f'train_cfg.{length}' in self._changes:
                meta[length] = getattr(runner, length)

    def before_train(self, runner: Runner) -> None:
        if self._changes is None:
            return
        for change in self._changes.values():
            runner.logger.info(f'--override: {change}')
        if not self._changes:
            runner.logger.info('--override: no setting differs from those of the run')
            return
        before, after = replan_schedules(runner)
        runner.logger.info(
            '--override: the learning rate goes on as the new schedule has it from here, at '
            f'{after:.3g} instead of {before:.3g}'
        )
