"""Seeing, ending and replacing the calls of a model's modules, within one forward pass."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

Call = tuple[str, int]
"""A module's path, and which call of it in one forward pass, from 0."""
Forward = Callable[..., Any]
# The call, the module's own forward and its arguments -> what the call returns.
Handler = Callable[[Call, Forward, tuple[Any, ...], dict[str, Any]], Any]


@contextmanager
def intercepted(modules: Mapping[str, nn.Module], handle: Handler) -> Iterator[None]:
    """Let `handle` answer every call of these modules, given by their paths.

    Afterwards the modules are as before; between the passes of a model nothing of it is changed.
    """
    numbers: Counter[str] = Counter()

    def call(path: str, forward: Forward, *args: Any, **kwargs: Any) -> Any:
        number = numbers[path]
        numbers[path] += 1
        return handle((path, number), forward, args, kwargs)

    # A module may have a forward of its own already: activation checkpointing gives it one.
    before = {path: module.__dict__.get('forward') for path, module in modules.items()}
    try:
        for path, module in modules.items():
            module.__dict__['forward'] = partial(call, path, module.forward)
        yield
    finally:
        for path, module in modules.items():
            module.__dict__.pop('forward', None)
            if before[path] is not None:
                module.__dict__['forward'] = before[path]


class _Seen(Exception):
    """All wanted calls are done; ends the forward pass."""


def capture(entry: nn.Module, images: Tensor, calls: Collection[Call]) -> dict[Call, Any]:
    """What the calls return for a batch of images; the pass ends with the last of them.

    Raises ValueError where the model does not make one of the calls.
    """
    modules = {path: entry.get_submodule(path) for path, _ in calls}
    outputs: dict[Call, Any] = {}

    def keep(call: Call, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = forward(*args, **kwargs)
        if call in calls:
            outputs[call] = output
            if len(outputs) == len(calls):
                raise _Seen
        return output

    with torch.no_grad(), intercepted(modules, keep), suppress(_Seen):
        entry(images)
    absent = [path for path, number in calls if (path, number) not in outputs]
    if absent:
        raise ValueError(
            f'{type(entry).__name__} did not call {absent[0] or "itself"} for every batch of '
            'images, so its prefix cannot be cached; leave cache_prefix out'
        )
    return outputs


def image_argument(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """The batch of images among a call's arguments: the first tensor (B, C, H, W).

    Raises ValueError where there is none.
    """
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor) and value.dim() == 4:
            return value
    kinds = ', '.join(type(value).__name__ for value in (*args, *kwargs.values())) or 'nothing'
    raise ValueError(
        'a cached prefix is entered with a batch of images, a tensor (B, C, H, W), but the model '
        f'was called with {kinds}; leave cache_prefix out, or call it with a tensor'
    )


def tensors_in(output: Any) -> list[Tensor]:
    """The tensors of an output, in order."""
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
