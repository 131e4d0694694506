"""One training step of a method, counted without being kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from gps_seg.methods import Method, ModelParts, NothingLeftError, Plan, method_name
from gps_seg.selection import preserved
from gps_seg.tuning.saved_by_blocks import largest_held, saved_by_blocks
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
    again: memory and flop where the first 1, 2, ... trained blocks run again in the backward pass.
    """

    memory: int
    flop: int
    again: tuple[tuple[int, int], ...] = ()

    def recomputing(self, num: int) -> 'StepCost':
        """The same step with its first `num` trained blocks computed again."""
        return StepCost(*self.again[num - 1]) if num else self

    def fewest_recomputed(self, memory: int) -> int | None:
        """How many of the first trained blocks must run again to need no more than `memory`.

        None where that does not suffice.
        """
        numbers = range(len(self.again) + 1)
        return next((n for n in numbers if self.recomputing(n).memory <= memory), None)


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
            raise NothingLeftError(f'{method_name(method)} trains nothing of this model')
        if trial.engine != 'auto':
            applied.sparse.use_engine(trial.engine)
        held = num_bytes(tensors_held(model)) + KEPT_PER_ENTRY * num_bytes([*trained])

        def loss() -> Tensor:
            value = trial.loss()
            return value if applied.penalty is None else value + applied.penalty()

        blocks = trained_blocks(applied.parts)
        saved, flop, again = _counted(model, trained, loss, blocks)
    finally:
        applied.remove()
    return StepCost(held + saved, flop, tuple((held + bytes_, flop_) for bytes_, flop_ in again))


def trained_blocks(parts: ModelParts) -> tuple[str, ...]:
    """The blocks from the first trained one on."""
    first = 0 if parts.first_block is None else parts.blocks.index(parts.first_block)
    return parts.blocks[first:]


def _counted(
    model: nn.Module,
    trained: list[nn.Parameter],
    loss: Callable[[], Tensor],
    blocks: Sequence[str],
) -> tuple[int, int, list[tuple[int, int]]]:
    """Bytes saved by one step and its operations, as it is and with blocks computed again."""
    forward, backward = flop_counter(), flop_counter()
    with preserved(model, training=True):
        hooks = [p.register_post_accumulate_grad_hook(_drop_gradient) for p in trained]
        try:
            saved = SavedBytes(model, keep=False)
            with forward, saved, saved_by_blocks(model, blocks, saved, forward) as each:
                value = loss()
            with backward:
                if value.requires_grad:
                    value.backward()
        finally:
            for hook in hooks:
                hook.remove()
    total = forward.get_total_flops() + backward.get_total_flops()
    again, extra = [], 0
    for num, block in enumerate(each, start=1):
        extra += block.flop
        again.append((largest_held(saved.outside, each, num), total + extra))
    return saved.total, total, again


def _drop_gradient(parameter: Tensor) -> None:
    parameter.grad = None
