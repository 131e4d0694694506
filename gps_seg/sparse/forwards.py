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
from gps_seg.sparse.engine import INDEX_CLASSES, INDEX_PARTS, DenseIndex, Index, index_of
from gps_seg.sparse.functional import selected_linear

Forward = Callable[..., Any]
Indices = dict[str, Index]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
ATTENTION_PARTS = ('q', 'k', 'v')


def stored_index(layer: Any, name: str) -> Any:
    """The index that a converted layer keeps under a name, in buffers `<name>_<part>`."""
    engine = layer.engines[name]
    parts = (layer._buffers[f'{name}_{part}'] for part in INDEX_PARTS[engine])
    return INDEX_CLASSES[engine](*parts)


def choose_forward(
    layer: nn.Module, selected: Mapping[str, Entries], engine: str
) -> tuple[Forward | None, Indices]:
    """The forward for these selected weights, and the indices that it uses, by their names.

    None as the forward keeps the layer's own. engine: one of ENGINES.
    """
    own = type(layer).forward
    names = set(selected)
    if own is nn.Linear.forward and names == {'weight'} and engine != 'dense':
        device = _device(layer, 'weight')
        return _linear_forward, {'weight': index_of(selected['weight'], engine, device)}
    if own is nn.MultiheadAttention.forward and names == {'in_proj_weight'} and engine != 'dense':
        return _attention(layer, selected['in_proj_weight'], engine)
    if any(own is stock.forward for stock in CONVOLUTIONS) and names == {'weight'}:
        return _convolution(layer, selected['weight'], engine)
    if any(own is stock.forward for stock in TRANSPOSED) and names == {'weight'}:
        return _transposed_forward, {'weight': DenseIndex.of(selected['weight'])}
    return None, {}


def _device(layer: nn.Module, name: str) -> torch.device:
    weight = layer._parameters[name]
    assert weight is not None
    return weight.device


def _linear_forward(layer: Any, input: Tensor) -> Tensor:
    if layer.is_replaced():
        return type(layer).base_class.forward(layer, input)
    weight = layer.up_to_date('weight')
    if not torch.is_grad_enabled():
        return nn.functional.linear(input, weight, layer.bias)
    return selected_linear(
        input, weight, layer.bias, layer.weight_values, stored_index(layer, 'weight')
    )


def _convolution(layer: Any, entries: Entries, engine: str) -> tuple[Forward | None, Indices]:
    stock = any(type(layer)._conv_forward is c._conv_forward for c in CONVOLUTIONS)
    if not stock or layer.padding_mode != 'zeros' or isinstance(layer.padding, str):
        return None, {}
    if engine == 'dense' or not _is_matrix_product(layer, entries):
        return _convolution_forward, {'weight': DenseIndex.of(entries)}
    index = index_of(entries, engine, _device(layer, 'weight'))
    if index.columns is None:  # every plane is picked by its place
        index = replace(index, columns=torch.arange(entries.num_inputs))
    return _convolution_forward, {'weight': index}


def _is_matrix_product(layer: Any, entries: Entries) -> bool:
    """Whether the touched planes of the input are no more than the input itself holds."""
    plain = layer.groups == 1 and set(layer.padding) == {0} and set(layer.dilation) == {1}
    if not (plain and isinstance(layer, nn.Conv2d)):
        return False
    # One plane holds 1 / (stride ** 2) of the input's positions.
    touched = len(entries.columns.unique())
    return touched <= layer.in_channels * layer.stride[0] * layer.stride[1]


def _convolution_forward(layer: Any, input: Tensor) -> Tensor:
    unusual = input.dim() != layer._parameters['weight'].dim() or layer.is_replaced()
    if not torch.is_grad_enabled() or unusual:
        return type(layer).base_class.forward(layer, input)
    return _convolve(layer, input, transposed=False)


def _transposed_forward(layer: Any, input: Tensor, output_size: list[int] | None = None) -> Tensor:
    unusual = output_size is not None or input.dim() != layer._parameters['weight'].dim()
    if not torch.is_grad_enabled() or unusual or layer.is_replaced():
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


def _attention(layer: Any, entries: Entries, engine: str) -> tuple[Forward | None, Indices]:
    plain = layer.bias_k is None and layer.bias_v is None and not layer.add_zero_attn
    if not plain:
        return None, {}
    size, device = layer.embed_dim, _device(layer, 'in_proj_weight')
    indices: Indices = {'in_proj_weight': index_of(entries, engine, device)}
    counts = entries.counts.split(size)
    columns = entries.columns.split([int(part.sum()) for part in counts])
    for part, of_part, some in zip(ATTENTION_PARTS, columns, counts, strict=True):
        index = index_of(Entries(of_part, some, (size, size)), engine, device)
        indices[f'in_proj_weight_{part}'] = index
    return _attention_forward, indices


def _attention_forward(
    layer: Any, query: Tensor, key: Tensor, value: Tensor, *arguments: Any, **options: Any
) -> tuple[Tensor, Tensor | None]:
    unusual = query.dim() != 3 or query.is_nested or layer.is_replaced()
    if not torch.is_grad_enabled() or unusual:
        return type(layer).base_class.forward(layer, query, key, value, *arguments, **options)
    weight, values = layer.up_to_date('in_proj_weight'), layer.in_proj_weight_values
    same = query is key and key is value
    if layer.batch_first:  # B L E -> L B E
        query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    if same:
        index = stored_index(layer, 'in_proj_weight')
        projected = selected_linear(query, weight, layer.in_proj_bias, values, index)
        q, k, v = projected.chunk(3, dim=-1)
    else:
        biases = [None] * 3 if layer.in_proj_bias is None else layer.in_proj_bias.chunk(3)
        indices = [stored_index(layer, f'in_proj_weight_{part}') for part in ATTENTION_PARTS]
        inputs = (query, key, value)
        weights = weight.detach().chunk(3)
        values_of = values.split([index.num for index in indices])
        q, k, v = map(selected_linear, inputs, weights, biases, values_of, indices)
    return attend(layer, q, k, v, *arguments, **options)
