"""What each block of a model saves for backward, and what is held where some run again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gps_seg.tuning.step_counters import SavedBytes, Storages


@dataclass(frozen=True, eq=False)
class BlockSaved:
    """Storages of a block's inputs, those that it saves, and its operations going forward.

    before: the storages that are saved before it, outside of all blocks.
    """

    before: Storages
    inputs: Storages
    saved: Storages
    flop: int


@contextmanager
def saved_by_blocks(
    model: nn.Module, blocks: Sequence[str], saved: SavedBytes, operations: FlopCounterMode
) -> Iterator[list[BlockSaved]]:
    """Collects, while the model runs within it, what each of its blocks saves, in their order.

    What is saved by no block is in `saved.outside`.
    """
    collected: list[BlockSaved] = []
    started: list[tuple[Storages, Storages, int]] = []

    def enter(block: nn.Module, args: Any, kwargs: Any) -> None:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        inputs = saved.storages_of(given)
        started.append((dict(saved.outside), inputs, operations.get_total_flops()))
        saved.scope = {}

    def leave(block: nn.Module, args: Any, output: Any) -> None:
        before, inputs, flop = started.pop()
        flop = operations.get_total_flops() - flop
        collected.append(BlockSaved(before, inputs, saved.scope, flop))
        saved.scope = saved.outside

    modules = [model.get_submodule(path) for path in blocks]
    hooks = [m.register_forward_pre_hook(enter, with_kwargs=True) for m in modules]
    hooks += [m.register_forward_hook(leave) for m in modules]
    try:
        yield collected
    finally:
        for hook in hooks:
            hook.remove()


def largest_held(outside: Storages, blocks: Sequence[BlockSaved], num: int) -> int:
    """The most bytes that are held for backward where the first `num` blocks run again.

    outside: what is saved before, between and after the blocks. That is the case either at the end
    of the forward pass, or while a block that runs again holds what it saves beside the inputs of
    those before it; what came after it is let go by then.
    """
    first, others = blocks[:num], blocks[num:]
    held = dict(outside)
    for block in others:
        held |= block.saved
    inputs: Storages = {}
    largest = 0
    for block in first:
        inputs |= block.inputs
        largest = max(largest, sum((block.before | inputs | block.saved).values()))
    return max(largest, sum((held | inputs).values()))
