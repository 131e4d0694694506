"""Which forward a converted layer gets, and what it needs for it.

A layer whose own forward is none of the known ones keeps it: reading its weight yields the weight
with a gathered dense gradient, which is right for any use.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from gps_seg.selection.selection import Entries
from gps_seg.sparse.attention import attend
from gps_seg.sparse.convolution import Geometry, selected_convolution
from gps_seg.sparse.engine import EntryIndex, cheapest_engine
from gps_seg.sparse.functional import selected_linear

Forward = Callable[..., Any]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
# Of an index, by the weight's name, beside `<weight>_values` and `<weight>_index`.
INDEX_PARTS = ('columns', 'first', 'second')
ATTENTION_PARTS = ('q', 'k', 'v')


def store_index(layer: nn.Module, name: str, index: EntryIndex, device: torch.device) -> None:
    """Keep an index in buffers, which follow the layer to other devices and into copies."""
    for part in INDEX_PARTS:
        tensor = getattr(index, part)
        moved = None if tensor is None else tensor.to(device)
        layer.register_buffer(f'{name}_{part}', moved, persistent=False)
    layer.__dict__.setdefault('engines', {})[name] = index.engine


def stored_index(layer: Any, name: str) -> EntryIndex:
    """What `store_index` has kept."""
    return EntryIndex(layer.engines[name], *(layer._buffers[f'{name}_{p}'] for p in INDEX_PARTS))


def drop_indices(layer: nn.Module) -> None:
    """Remove all stored indices."""
    for name in layer.__dict__.pop('engines', {}):
        for part in INDEX_PARTS:
            layer._buffers.pop(f'{name}_{part}', None)
            layer._non_persistent_buffers_set.discard(f'{name}_{part}')


def choose_forward(
    layer: nn.Module, selected: Mapping[str, Entries], engine: str
) -> Forward | None:
    """The forward for these selected weights, its indices stored; None to keep the layer's own.

    engine: one of ENGINES.
    """
    own = type(layer).forward
    names = set(selected)
    if own is nn.Linear.forward and names == {'weight'} and engine != 'dense':
        _store(layer, 'weight', selected['weight'], engine)
        return _linear_forward
    if own is nn.MultiheadAttention.forward and names == {'in_proj_weight'} and engine != 'dense':
        return _attention(layer, selected['in_proj_weight'], engine)
    if any(own is stock.forward for stock in CONVOLUTIONS) and names == {'weight'}:
        return _convolution(layer, selected['weight'], engine)
    if any(own is stock.forward for stock in TRANSPOSED) and names == {'weight'}:
        _store_dense(layer, selected['weight'])
        return _transposed_forward
    return None


def _store(layer: nn.Module, name: str, entries: Entries, engine: str) -> None:
    device = next(layer.parameters(recurse=False)).device
    store_index(layer, name, _index(entries, engine, device), device)


def _index(entries: Entries, engine: str, device: torch.device) -> EntryIndex:
    chosen = cheapest_engine(entries, device) if engine == 'auto' else engine
    return EntryIndex.of(entries, chosen)


def _linear_forward(layer: Any, input: Tensor) -> Tensor:
    weight = layer.up_to_date('weight')
    if not torch.is_grad_enabled():
        return nn.functional.linear(input, weight, layer.bias)
    return selected_linear(
        input, weight, layer.bias, layer.weight_values, stored_index(layer, 'weight')
    )


def _convolution(layer: Any, entries: Entries, engine: str) -> Forward | None:
    stock = any(type(layer)._conv_forward is c._conv_forward for c in CONVOLUTIONS)
    if not stock or layer.padding_mode != 'zeros' or isinstance(layer.padding, str):
        return None
    device = layer._parameters['weight'].device
    if engine != 'dense' and _is_matrix_product(layer, entries):
        index = _index(entries, engine, device)
        if index.columns is None:  # every plane is picked by its place
            index = replace(index, columns=torch.arange(entries.num_inputs))
        store_index(layer, 'weight', index, device)
    else:
        _store_dense(layer, entries)
    return _convolution_forward


def _store_dense(layer: Any, entries: Entries) -> None:
    index = EntryIndex('dense', None, None, entries.storage_index())
    store_index(layer, 'weight', index, layer._parameters['weight'].device)


def _is_matrix_product(layer: Any, entries: Entries) -> bool:
    """Whether the touched planes of the input are no more than the input itself holds."""
    plain = layer.groups == 1 and set(layer.padding) == {0} and set(layer.dilation) == {1}
    if not (plain and isinstance(layer, nn.Conv2d)):
        return False
    # One plane holds 1 / (stride ** 2) of the input's positions.
    touched = len(entries.columns.unique())
    return touched <= layer.in_channels * layer.stride[0] * layer.stride[1]


def _convolution_forward(layer: Any, input: Tensor) -> Tensor:
    if not torch.is_grad_enabled() or input.dim() != layer._parameters['weight'].dim():
        return type(layer).base_class.forward(layer, input)
    return _convolve(layer, input, transposed=False)


def _transposed_forward(layer: Any, input: Tensor, output_size: list[int] | None = None) -> Tensor:
    unusual = output_size is not None or input.dim() != layer._parameters['weight'].dim()
    if not torch.is_grad_enabled() or unusual:
        return type(layer).base_class.forward(layer, input, output_size)
    return _convolve(layer, input, transposed=True)


def _convolve(layer: Any, input: Tensor, *, transposed: bool) -> Tensor:
    geometry = Geometry(
        layer.stride,
        layer.padding,
        layer.dilation,
        transposed,
        layer.output_padding,
        layer.groups,
    )
    weight, index = layer.up_to_date('weight'), stored_index(layer, 'weight')
    return selected_convolution(input, weight, layer.bias, layer.weight_values, geometry, index)


def _attention(layer: Any, entries: Entries, engine: str) -> Forward | None:
    plain = layer.bias_k is None and layer.bias_v is None and not layer.add_zero_attn
    if not plain:
        return None
    _store(layer, 'in_proj_weight', entries, engine)
    size = layer.embed_dim
    numbers = [int(part.sum()) for part in entries.counts.split(size)]
    parts = zip(
        ATTENTION_PARTS, entries.columns.split(numbers), entries.counts.split(size), strict=True
    )
    for part, columns, counts in parts:
        _store(layer, f'in_proj_weight_{part}', Entries(columns, counts, (size, size)), engine)
    layer.__dict__['numbers'] = numbers
    return _attention_forward


def _attention_forward(
    layer: Any, query: Tensor, key: Tensor, value: Tensor, *arguments: Any, **options: Any
) -> tuple[Tensor, Tensor | None]:
    if not torch.is_grad_enabled() or query.dim() != 3 or query.is_nested:
        return type(layer).base_class.forward(layer, query, key, value, *arguments, **options)
    weight, values = layer.up_to_date('in_proj_weight'), layer.in_proj_weight_values
    if query is key and key is value:
        whole = stored_index(layer, 'in_proj_weight')
        projected = selected_linear(query, weight, layer.in_proj_bias, values, whole)
        q, k, v = projected.chunk(3, dim=-1)
    else:
        biases = [None] * 3 if layer.in_proj_bias is None else layer.in_proj_bias.chunk(3)
        parts = zip(weight.detach().chunk(3), biases, values.split(layer.numbers), strict=True)
        q, k, v = (
            selected_linear(x, w, b, part, stored_index(layer, f'in_proj_weight_{name}'))
            for x, (w, b, part), name in zip(
                (query, key, value), parts, ATTENTION_PARTS, strict=True
            )
        )
    return attend(layer, q, k, v, *arguments, **options)
