"""Refuses an optimizer's step that would not train what the method trains."""

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from gps_seg.methods import method_name

if TYPE_CHECKING:
    from gps_seg.tuning.tuning import Tuning


def guard_steps(tuning: 'Tuning') -> Callable[[], Any]:
    """Check every optimizer that steps while a fine-tuning runs. Returns what ends the guard.

    A step raises ValueError if the optimizer was built before the conversion, or if the method's
    penalty was never computed.
    """
    guard = register_optimizer_step_pre_hook(_check_of(weakref.ref(tuning)))
    return weakref.finalize(tuning, guard.remove)


def check_optimizer(tuning: 'Tuning', optimizer: Optimizer) -> None:
    """Raise ValueError where an optimizer holds weights without what is trained for them.

    One that was built before the conversion would train biases and the head alone.
    """
    held = {id(p) for group in optimizer.param_groups for p in group['params']}
    for dense, trained in tuning.replaced:
        if id(dense) in held and not any(id(parameter) in held for parameter in trained):
            raise ValueError(
                'the optimizer was built for the stock model, so it would leave out what '
                f'{method_name(tuning.method)} trains; give it tuning.parameters(), or call '
                'tuning.refill(optimizer) before its first step'
            )


def check_penalty(tuning: 'Tuning', optimizer: Optimizer) -> None:
    """Raise ValueError where an optimizer is about to step without the method's penalty."""
    if tuning.penalty_used:
        return
    mine = {id(parameter) for parameter in tuning.parameters()}
    if any(id(p) in mine for group in optimizer.param_groups for p in group['params']):
        raise ValueError(
            f'{method_name(tuning.method)} adds a penalty to the loss, which this step left '
            'out: loss = loss + tuning.penalty(); or choose pull=0'
        )


def _check_of(tuning: 'weakref.ref[Tuning]') -> Callable[[Optimizer, Any, Any], None]:
    seen: weakref.WeakSet[Optimizer] = weakref.WeakSet()

    def check(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        alive = tuning()
        if alive is None:
            return
        first = optimizer not in seen
        if first:
            check_optimizer(alive, optimizer)
            seen.add(optimizer)
        # A closure, as Lightning's, computes the loss within the step: known from the second on.
        if alive.has_penalty and not (first and _has_closure(args, kwargs)):
            check_penalty(alive, optimizer)

    return check


def _has_closure(args: Any, kwargs: Any) -> bool:
    # args begins with the optimizer.
    return any(callable(value) for value in (*args[1:], *kwargs.values()))
