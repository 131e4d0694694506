"""What happens to compact values around the step of whichever optimizer holds them."""

import functools
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from gps_seg.sparse import agreement
from gps_seg.sparse.agreement import Part, agree_parts

# The converted layer of each compact parameter, by the parameter's id: an index to find it by, and
# no more than that; what is found is checked.
_LAYERS: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def follow_steps(values: nn.Parameter, layer: Any) -> None:
    """Keep the layer's weight right after every step of an optimizer that holds these values.

    The next read would see to that by itself; but some read the weights past the layer.
    """
    _register_hooks()
    _LAYERS[id(values)] = layer


@functools.cache
def _register_hooks() -> None:
    register_optimizer_step_pre_hook(_before_step)
    register_optimizer_step_post_hook(_after_step)


def _parts_of(optimizer: Optimizer) -> Iterator[Part]:
    for group in optimizer.param_groups:
        for parameter in group['params']:
            layer: Any = _LAYERS.get(id(parameter))
            for name, one in getattr(layer, 'agreements', {}).items():
                if one.values is parameter:
                    yield layer.part(name)


@torch.compiler.disable
def _before_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    # What was written into a weight is in the values before these move. On a GPU a comparison costs
    # several kernels; without one, a write that shows no version is an error at a later read.
    agree_parts(
        [
            part
            for part in _parts_of(optimizer)
            if agreement.is_at_hand(part[1]) or agreement.weight_was_written(part[0])
        ]
    )


@torch.compiler.disable
def _after_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    agree_parts(list(_parts_of(optimizer)))
