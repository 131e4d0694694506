"""Elements of a tensor by their flat places, and as the bits they are made of."""

import torch
from torch import Tensor

_INTEGER_OF_SIZE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def put_values(tensor: Tensor, places: Tensor, values: Tensor) -> None:
    """Write `values` at `places` of the flattened tensor, in place; the places are distinct.

    tensor: any shape and strides. places: (num,) int64. values: (num,), of the tensor's dtype.
    Unlike `Tensor.put_` it also runs under `torch.use_deterministic_algorithms(True)`.
    """
    if tensor.is_contiguous():
        tensor.view(-1).index_copy_(0, places, values)
    else:
        tensor.index_put_(torch.unravel_index(places, tensor.shape), values)


def take_values(tensor: Tensor, places: Tensor) -> Tensor:
    """The elements at `places` of the flattened tensor, (num,), as `torch.take` gives them.

    tensor: any shape and strides. places: (num,) int64. Three times as fast on contiguous memory.
    """
    if tensor.is_contiguous():
        return tensor.view(-1).index_select(0, places)
    return torch.take(tensor, places)


def has_bits(tensor: Tensor) -> bool:
    """Whether one integer holds one element: all types but complex128."""
    return tensor.element_size() in _INTEGER_OF_SIZE


def bits(tensor: Tensor) -> Tensor:
    """The same memory as signed integers of the same size and shape.

    As bits nan equals nan, and -0.0 differs from 0.0.
    """
    return tensor.detach().view(_INTEGER_OF_SIZE[tensor.element_size()])
