"""One training step of a method, counted without being kept."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from gps_seg.methods import Method, ModelParts, NothingLeftError, Plan
from gps_seg.selection import preserved
from gps_seg.tuning.step_counters import SavedBytes, flop_counter, num_bytes, tensors_held

# Gradients, and the two moments of Adam.
KEPT_PER_ENTRY = 3


@dataclass(frozen=True)
class Trial:
    """A real batch to count a training step on.

    loss: runs the model, in the mode it is in, on one batch of the training, and returns the loss.
    engine: of the selected entries' gradients; see `gps_seg.make_sparse`.
    """

    loss: Callable[[], Tensor]
    engine: str = 'auto'


@dataclass(frozen=True)
class StepCost:
    """What a training step costs; counted, so the same on every machine.

    memory: bytes of the weights and buffers, of the gradients and Adam's two moments of what is
        trained, and of what is saved for backward. Passing values of single layers, copies (an
        average of the weights) and the device's own needs are not in it.
    flop: operations of the forward and the backward pass; a multiply-add is two.
    """

    memory: int
    flop: int


def count_trial(
    model: nn.Module, method: Method, parts: ModelParts, plan: Plan, trial: Trial
) -> StepCost:
    """Count one training step of a method, and leave the model as found.

    The step needs the memory of the weights and of single layers alone: what it saves is counted
    and let go. Raises ValueError where the plan does not fit the model, NothingLeftError where
    nothing is trained.
    """
    applied = method.apply(model, parts, plan)
    try:
        trained = list(applied.parameters().values())
        if not trained:
            raise NothingLeftError(f'{type(method).__name__} trains nothing of this model')
        if trial.engine != 'auto':
            applied.sparse.use_engine(trial.engine)
        held = num_bytes(tensors_held(model)) + KEPT_PER_ENTRY * num_bytes([*trained])

        def loss() -> Tensor:
            value = trial.loss()
            return value if applied.penalty is None else value + applied.penalty()

        saved, flop = _counted(model, trained, loss)
    finally:
        applied.remove()
    return StepCost(held + saved, flop)


def _counted(
    model: nn.Module, trained: list[nn.Parameter], loss: Callable[[], Tensor]
) -> tuple[int, int]:
    """Bytes saved by one step, and its operations."""
    forward, backward = flop_counter(), flop_counter()
    with preserved(model, training=True):
        hooks = [p.register_post_accumulate_grad_hook(_drop_gradient) for p in trained]
        try:
            with forward, SavedBytes(model, keep=False) as saved:
                value = loss()
            with backward:
                if value.requires_grad:
                    value.backward()
        finally:
            for hook in hooks:
                hook.remove()
    return saved.total, forward.get_total_flops() + backward.get_total_flops()


def _drop_gradient(parameter: Tensor) -> None:
    parameter.grad = None
