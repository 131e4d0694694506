"""Tensors as the bits they are made of: nan equals nan, and -0.0 differs from 0.0."""

import torch
from torch import Tensor

from gps_seg.sparse.placing import bits, has_bits, put_values


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one dtype and shape are equal bit for bit."""
    if has_bits(one):
        return torch.equal(bits(one), bits(other))
    return torch.equal(*(torch.view_as_real(t.detach()).view(torch.int64) for t in (one, other)))


def take_bits(tensor: Tensor, places: Tensor) -> Tensor:
    """The elements at `places` of the flattened tensor, as a new one-dimensional tensor."""
    return bits(tensor).take(places).view(tensor.dtype)


def put_bits(tensor: Tensor, places: Tensor, values: Tensor) -> None:
    """Write `values` at `places` of the flattened tensor, in place."""
    put_values(bits(tensor), places, bits(values))


def copy_of(tensor: Tensor) -> Tensor:
    """A contiguous copy that shares memory with nothing."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)
