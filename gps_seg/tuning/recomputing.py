"""Activation checkpointing of single modules, in the way in which inputs need no gradient."""

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

# As few blocks as the budget of `train_from='auto'` needs.
AUTO = 'auto'


def recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward that keeps its inputs alone, and runs again in the backward pass."""

    @functools.wraps(forward)
    def wrapper(*inputs: Any, **options: Any) -> Any:
        return checkpoint(forward, *inputs, use_reentrant=False, **options)

    return wrapper


@contextmanager
def blocks_recomputed(
    model: nn.Module, blocks: Collection[str]
) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Within it a backward pass holds the activations of one block at a time.

    blocks: paths of the modules that run again; gradients are the same, bit for bit, as long as
    each repeats what it computes. Yields a function whose context lets them run as ever.
    """
    undo = recompute_blocks(model, blocks)

    @contextmanager
    def paused() -> Iterator[None]:
        nonlocal undo
        undo()
        try:
            yield
        finally:
            undo = recompute_blocks(model, blocks)

    try:
        yield paused
    finally:
        undo()


class _Recomputed:
    """A module whose training pass keeps its inputs alone; mixed in before its own class."""

    def forward(self, *inputs: Any, **options: Any) -> Any:
        forward = super().forward  # type: ignore[misc]
        if not torch.is_grad_enabled():
            return forward(*inputs, **options)
        return checkpoint(forward, *inputs, use_reentrant=False, **options)


def recompute_blocks(model: nn.Module, blocks: Collection[str]) -> Callable[[], None]:
    """Let blocks keep their inputs alone and run again in the backward pass. Returns the undo.

    blocks: paths of modules. Their class is exchanged, so that copies of the model (an average of
        its weights) recompute themselves and not the original. Gradients are the same, bit for bit:
        dropout and drop-path draw again what they drew.
    """
    modules = [model.get_submodule(path) for path in blocks]
    classes = [type(module) for module in modules]
    made: dict[type, type] = {}
    for module, known in zip(modules, classes, strict=True):
        if known not in made:
            made[known] = type(f'Recomputed{known.__name__}', (_Recomputed, known), {})
        module.__class__ = made[known]

    def undo() -> None:
        for module, known in zip(modules, classes, strict=True):
            module.__class__ = known

    return undo


def blocks_to_recompute(setting: bool | int, blocks: Sequence[str]) -> tuple[str, ...]:
    """The first of the trained blocks, as many as are to be computed again.

    The first, since the last one's activations live in every case when the backward pass begins.
    setting: a number of blocks, True for all, False for none. blocks: the trained ones.

    Raises ValueError for another setting, or more blocks than there are.
    """
    check_recompute(setting)
    if setting is True:
        return tuple(blocks)
    if setting > len(blocks):
        raise ValueError(
            f'recompute must be at most {len(blocks)}, the number of trained blocks, or True for '
            f'all, got {setting}'
        )
    return tuple(blocks[: int(setting)])


def check_recompute(setting: Any) -> None:
    """Raise ValueError for what is no setting of `recompute`."""
    if setting == AUTO or (isinstance(setting, int) and setting >= 0):
        return
    raise ValueError(
        "recompute must be True (all trained blocks), False, a number of them, or 'auto' (as few "
        f"as the budget of train_from='auto' needs), got {setting!r}"
    )
