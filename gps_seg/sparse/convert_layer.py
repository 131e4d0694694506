"""Convert one layer, choose its engine, and turn it back."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gps_seg.selection.selection import Entries
from gps_seg.sparse.agreement import Agreement, agree_parts
from gps_seg.sparse.engine import INDEX_PARTS, index_tensors
from gps_seg.sparse.forwards import Indices, choose_forward
from gps_seg.sparse.layers import SparseLayer, sparse_class
from gps_seg.sparse.steps import follow_steps


def convert_layer(layer: nn.Module, selected: Mapping[str, Entries], engine: str) -> None:
    """Give a layer, in place, the sparse class for its selected weights.

    selected: the entries of each weight by its name within the layer.
    engine: one of ENGINES.

    Values are kept in fp32 even where the weight has a lower precision, so that small steps are not
    lost. If anything fails, the layer is as it was.
    """
    weights = {name: layer.get_parameter(name) for name in selected}
    places = {n: e.storage_index().to(weights[n].device) for n, e in selected.items()}
    values = {}
    for name, weight in weights.items():
        precise = torch.promote_types(weight.dtype, torch.float32)
        values[name] = nn.Parameter(torch.take(weight.detach(), places[name]).to(precise))
    forward, indices = choose_forward(layer, selected, engine)
    buffers = dict(_index_buffers(layer, indices))

    for name, weight in weights.items():
        weight.requires_grad_(False)
        layer.register_parameter(f'{name}_values', values[name])
        layer.register_buffer(f'{name}_index', places[name], persistent=False)
    for name, buffer in buffers.items():
        layer.register_buffer(name, buffer, persistent=False)
    layer.__dict__['agreements'] = {n: Agreement.of(w, values[n]) for n, w in weights.items()}
    engines = {name: index.engine for name, index in indices.items()}
    layer.__class__ = sparse_class(type(layer), tuple(selected), forward, engines)
    for compact in values.values():
        follow_steps(compact, layer)


def assign_engine(layer: SparseLayer, selected: Mapping[str, Entries], engine: str) -> None:
    """Give a converted layer the class, and the indices, of another of ENGINES."""
    stock: Any = layer
    converted = type(layer)
    try:
        stock.__class__ = layer.base_class
        forward, indices = choose_forward(stock, selected, engine)
        buffers = dict(_index_buffers(stock, indices))
    finally:
        stock.__class__ = converted
    _drop_indices(layer)
    for name, buffer in buffers.items():
        stock.register_buffer(name, buffer, persistent=False)
    engines = {name: index.engine for name, index in indices.items()}
    stock.__class__ = sparse_class(layer.base_class, tuple(selected), forward, engines)


def restore_layer(layer: SparseLayer) -> None:
    """Turn a converted layer back into its base class; its weights keep the tuned values."""
    for name in layer.sparse_weights:
        agree_parts([layer.part(name)], may_wait=True)
    _drop_indices(layer)
    names, stock = layer.sparse_weights, layer
    stock.__class__ = layer.base_class  # type: ignore[assignment]
    for name in names:
        del stock._parameters[f'{name}_values']
        _drop_buffer(stock, f'{name}_index')
    del stock.__dict__['agreements']


def taken_names(name: str) -> Iterator[str]:
    """The attributes that a layer gets for a weight."""
    yield from ('agreements', 'engines', 'sparse_weights', 'base_class', f'{name}_values')
    yield f'{name}_index'
    for parts in INDEX_PARTS.values():
        yield from (f'{name}_{part}' for part in parts)


def _index_buffers(layer: nn.Module, indices: Indices) -> Iterator[tuple[str, Tensor | None]]:
    device = next(layer.parameters(recurse=False)).device
    for name, index in indices.items():
        for part, tensor in zip(INDEX_PARTS[index.engine], index_tensors(index), strict=True):
            yield f'{name}_{part}', None if tensor is None else tensor.to(device)


def _drop_indices(layer: SparseLayer) -> None:
    for name, engine in layer.engines.items():
        for part in INDEX_PARTS[engine]:
            _drop_buffer(layer, f'{name}_{part}')


def _drop_buffer(layer: Any, name: str) -> None:
    layer._buffers.pop(name, None)
    layer._non_persistent_buffers_set.discard(name)
