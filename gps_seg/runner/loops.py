"""How far a training is, in the unit that its loop counts: epochs or iterations."""

import bisect

from mmengine.runner import IterBasedTrainLoop, Runner

UNITS = {'epoch': 'epochs', 'iter': 'iterations'}


def unit_of(runner: Runner) -> str:
    """What the training loop counts: 'epoch' or 'iter'."""
    return 'iter' if isinstance(runner.train_loop, IterBasedTrainLoop) else 'epoch'


def num_done(runner: Runner) -> int:
    """How many epochs, or iterations, are done; right between them and in a validation."""
    return runner.iter if unit_of(runner) == 'iter' else runner.epoch


def planned(runner: Runner) -> int:
    """How many epochs, or iterations, there will be."""
    return runner.max_iters if unit_of(runner) == 'iter' else runner.max_epochs


def validation_interval(runner: Runner, done: int) -> int:
    """How many epochs, or iterations, lie between validations after `done` of them."""
    loop = runner.train_loop
    return loop.dynamic_intervals[bisect.bisect(loop.dynamic_milestones, done + 1) - 1]


def is_validated(runner: Runner, done: int) -> bool:
    """Whether a validation follows once `done` epochs, or iterations, are done."""
    return (
        runner.val_loop is not None
        and done >= runner.train_loop.val_begin
        and (done % validation_interval(runner, done) == 0 or done == planned(runner))
    )
