"""Layers of which only selected weight entries are trained, under the keys of the base layer.

A layer is converted by giving it a subclass of its own class. The frozen weight stays where it
was and always holds the tuned values; a compact parameter `<weight>_values` is what an optimizer
sees. Reading `layer.weight`, by its own forward or by anybody else's (`nn.MultiheadAttention` reads
its projection's weight, Swin-V2 its qkv's), yields the weight with the gradient led to the compact
parameter, so no forward can bypass the training.
"""

import functools
import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from gps_seg.selection.selection import Entries
from gps_seg.sparse.forwards import Forward, choose_forward, drop_indices
from gps_seg.sparse.functional import gathered_gradient
from gps_seg.sparse.placing import put_values


class SparseLayer:
    """What a converted layer adds to its own class (always mixed with an `nn.Module`)."""

    base_class: type[nn.Module]
    sparse_weights: tuple[str, ...]
    _parameters: dict[str, nn.Parameter | None]
    _buffers: dict[str, Tensor | None]

    def up_to_date(self, name: str) -> nn.Parameter:
        """The weight itself, after writing back values that were changed outside an optimizer."""
        return up_to_date_weight(self, name)

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)  # type: ignore[misc]
        for name in self.sparse_weights:
            del destination[f'{prefix}{name}_values']

    def _load_from_state_dict(
        self,
        state_dict: dict,
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        super()._load_from_state_dict(  # type: ignore[misc]
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        for name in self.sparse_weights:
            if strict:
                missing_keys.remove(f'{prefix}{name}_values')
            read_back_weight(self, name)


def _weight_property(name: str) -> property:
    def get(layer: SparseLayer) -> Tensor:
        weight = up_to_date_weight(layer, name)
        if not torch.is_grad_enabled():
            return weight
        values, index = layer._parameters[f'{name}_values'], layer._buffers[f'{name}_index']
        assert values is not None and index is not None
        return gathered_gradient(weight, values, index)

    return property(get)


_SPARSE_CLASSES: dict[tuple[type[nn.Module], tuple[str, ...], Forward | None], Any] = {}


def sparse_class(base: type[nn.Module], names: tuple[str, ...], forward: Forward | None) -> Any:
    """The class of a converted `base` layer whose weights `names` are trained sparsely."""
    key = base, names, forward
    if key in _SPARSE_CLASSES:
        return _SPARSE_CLASSES[key]
    body: dict[str, Any] = {name: _weight_property(name) for name in names}
    body |= {'base_class': base, 'sparse_weights': names, '__module__': __name__}
    if forward is not None:
        body['forward'] = forward
    _SPARSE_CLASSES[key] = type(f'Sparse{base.__name__}', (SparseLayer, base), body)
    return _SPARSE_CLASSES[key]


def convert_layer(layer: nn.Module, selected: dict[str, Entries], engine: str) -> None:
    """Give a layer, in place, the sparse class for its selected weights.

    selected: the entries of each weight by its name within the layer. engine: one of ENGINES.
    Values are kept in fp32 even where the weight has a lower precision, so that small steps are not
    lost.
    """
    for name, entries in selected.items():
        weight = layer._parameters[name]
        assert weight is not None
        weight.requires_grad_(False)
        index = entries.storage_index().to(weight.device)
        precise = torch.promote_types(weight.dtype, torch.float32)
        values = nn.Parameter(torch.take(weight.detach(), index).to(precise))
        layer.register_parameter(f'{name}_values', values)
        layer.register_buffer(f'{name}_index', index, persistent=False)
    plan_layer(layer, selected, engine)
    for name in selected:
        _follow(layer, name)


def plan_layer(layer: nn.Module, selected: dict[str, Entries], engine: str) -> None:
    """Give a layer the class, and the indices, with which `engine` computes its gradients."""
    if isinstance(layer, SparseLayer):
        drop_indices(layer)
        layer.__class__ = layer.base_class  # type: ignore[assignment]
    forward = choose_forward(layer, selected, engine)
    layer.__class__ = sparse_class(type(layer), tuple(selected), forward)


def restore_layer(layer: nn.Module) -> None:
    """Turn a converted layer back into its base class; its weights keep the tuned values."""
    assert isinstance(layer, SparseLayer)
    names = layer.sparse_weights
    base: Any = layer.base_class
    for name in names:
        write_back_weight(layer, name)
    layer.__class__ = base
    for name in names:
        del layer._parameters[f'{name}_values']
        layer._buffers.pop(f'{name}_index', None)
        layer._non_persistent_buffers_set.discard(f'{name}_index')
        layer.__dict__.pop(f'_{name}_seen', None)
    drop_indices(layer)


def write_back_weight(layer: SparseLayer, name: str) -> None:
    """Write the compact values into the weight."""
    weight, values = layer._parameters[name], layer._parameters[f'{name}_values']
    index = layer._buffers[f'{name}_index']
    assert weight is not None and values is not None and index is not None
    with torch.no_grad():
        put_values(weight, index, values.detach().to(weight.dtype))
    _remember(layer, name)


def read_back_weight(layer: SparseLayer, name: str) -> None:
    """Take the compact values from the weight, after something else has written it."""
    weight, values = layer._parameters[name], layer._parameters[f'{name}_values']
    index = layer._buffers[f'{name}_index']
    assert weight is not None and values is not None and index is not None
    with torch.no_grad():
        values.copy_(torch.take(weight, index))
    _remember(layer, name)


def up_to_date_weight(layer: SparseLayer, name: str) -> nn.Parameter:
    """See `SparseLayer.up_to_date`."""
    weight, values = layer._parameters[name], layer._parameters[f'{name}_values']
    assert weight is not None and values is not None
    if torch.compiler.is_compiling():
        # A traced program cannot look at versions; the optimizer's hook writes the values back.
        return weight
    seen = getattr(layer, f'_{name}_seen')
    if seen[0] != id(values):
        # A deep copy: its weight and values are copies of a consistent pair.
        _follow(layer, name)
    elif seen[1] != values._version:
        write_back_weight(layer, name)
    return weight


def _remember(layer: Any, name: str) -> None:
    values = layer._parameters[f'{name}_values']
    setattr(layer, f'_{name}_seen', (id(values), values._version))


def _follow(layer: Any, name: str) -> None:
    """Write the values back after every step of whichever optimizer holds them."""
    _register_step_hook()
    layer._parameters[f'{name}_values']._sparse_layer = weakref.ref(layer), name
    _remember(layer, name)


@functools.cache
def _register_step_hook() -> None:
    # One hook for all optimizers: also those that write through `.data`, which no version counter
    # shows, keep `state_dict()` and everything else that reads the weights exact after each step.
    register_optimizer_step_post_hook(_after_step)


def _after_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    for group in optimizer.param_groups:
        for parameter in group['params']:
            reference, name = getattr(parameter, '_sparse_layer', (None, ''))
            layer = reference() if reference is not None else None
            if layer is not None and layer._parameters.get(f'{name}_values') is parameter:
                write_back_weight(layer, name)
