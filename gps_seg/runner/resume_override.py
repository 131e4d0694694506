"""Which changed settings a resume may take on request, and what has to follow from them."""

import warnings
from collections.abc import Mapping
from typing import Any

from mmengine.runner import IterBasedTrainLoop, Runner

# A change of these re-plans the learning rate, as if the run had been planned so from its start.
LENGTHS = ('max_epochs', 'max_iters')
SCHEDULE = 'param_scheduler.'
REASONS = {
    'model.': 'the values in the checkpoint belong to the model and the loss that they came from',
    'optim_wrapper.': "the optimizer's moments come from steps with the first setting",
    'train_dataloader.': 'what was trained so far saw other images or batches',
    'train_cfg.': 'another loop counts in another way',
}


def taken_changes(saved: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """The changed settings by name, each with what is said of it.

    saved, now: as from `settings_of`. Raises ValueError that lists those that cannot be taken, and
    why.
    """
    changed = [name for name in {**saved, **now} if saved.get(name) != now.get(name)]
    refused = [name for name in changed if not _may_change(name)]
    if refused:
        listed = '; '.join(f'{_change(n, saved, now)}: {_reason(n)}' for n in refused)
        raise ValueError(
            f'--override cannot take {listed}. Resume with the first settings, or start anew in '
            'another work dir'
        )
    return {name: _change(name, saved, now) for name in changed}


def check_length(runner: Runner, meta: Mapping[str, Any]) -> None:
    """Raise ValueError where the new length is below what the checkpoint has done already."""
    by_iteration = isinstance(runner.train_loop, IterBasedTrainLoop)
    done = int(meta.get('iter' if by_iteration else 'epoch', 0))
    planned, unit = (
        (runner.max_iters, 'iterations') if by_iteration else (runner.max_epochs, 'epochs')
    )
    if planned < done:
        raise ValueError(
            f'--override cannot take a training of {planned} {unit}: {done} are done already'
        )


def replan_schedules(runner: Runner) -> tuple[float, float]:
    """Bring the learning rate to where the config's schedule has it after the steps done.

    Returns the first group's learning rate before and after. Raises ValueError for a schedule that
    depends on the validations so far.
    """
    groups = runner.optim_wrapper.optimizer.param_groups
    before = float(groups[0]['lr'])
    for group in groups:
        for name in [n for n in group if n.startswith('initial_')]:
            group[name.removeprefix('initial_')] = group[name]
    schedulers: Any = runner.build_param_scheduler(runner.cfg.param_scheduler)
    if any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers):
        raise ValueError(
            '--override cannot plan this schedule anew, since it depends on the validations so '
            'far; resume with the first settings'
        )
    by_iteration = isinstance(runner.train_loop, IterBasedTrainLoop)
    per_epoch = runner.iter if by_iteration else len(runner.train_dataloader)
    with warnings.catch_warnings():
        # Of schedulers that step before the optimizer: its steps are done.
        warnings.simplefilter('ignore', UserWarning)
        for done in range(1, runner.iter + 1):
            _step(schedulers, by_epoch=False)
            if not by_iteration and done % per_epoch == 0:
                _step(schedulers, by_epoch=True)
    runner.param_schedulers = schedulers
    return before, float(groups[0]['lr'])


def _step(schedulers: Any, *, by_epoch: bool) -> None:
    for scheduler in schedulers:
        if scheduler.by_epoch == by_epoch:
            scheduler.step()


def _may_change(name: str) -> bool:
    return name.startswith(SCHEDULE) or name in [f'train_cfg.{length}' for length in LENGTHS]


def _change(name: str, saved: Mapping[str, str], now: Mapping[str, str]) -> str:
    return f'{name} was {saved.get(name, "not set")}, now {now.get(name, "not set")}'


def _reason(name: str) -> str:
    found = [reason for prefix, reason in REASONS.items() if name.startswith(prefix)]
    return found[0] if found else 'the rest of the training would belong to neither setting'
