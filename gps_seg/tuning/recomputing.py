"""Activation checkpointing of single modules, in the way in which inputs need no gradient."""

import functools
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward that keeps its inputs alone, and runs again in the backward pass."""

    @functools.wraps(forward)
    def wrapper(*inputs: Any, **options: Any) -> Any:
        return checkpoint(forward, *inputs, use_reentrant=False, **options)

    return wrapper


@contextmanager
def blocks_recomputed(model: nn.Module, blocks: Collection[str]) -> Iterator[None]:
    """Within it a backward pass holds the activations of one block at a time.

    blocks: paths of the modules that run again; gradients are the same, bit for bit, as long as
    each repeats what it computes.
    """
    modules = [model.get_submodule(path) for path in blocks]
    before = [(module, module.__dict__.get('forward')) for module in modules]
    for module in modules:
        module.forward = recomputed(module.forward)
    try:
        yield
    finally:
        for module, forward in before:
            del module.forward
            if forward is not None:
                module.forward = forward
