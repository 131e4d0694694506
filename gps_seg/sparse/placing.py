"""Write elements of a tensor by their flat places."""

import torch
from torch import Tensor


def put_values(tensor: Tensor, places: Tensor, values: Tensor) -> None:
    """Write `values` at `places` of the flattened tensor, in place; the places are distinct.

    tensor: any shape and strides. places: (num,) int64. values: (num,), of the tensor's dtype.
    Unlike `Tensor.put_` it also runs under `torch.use_deterministic_algorithms(True)`.
    """
    if tensor.is_contiguous():
        tensor.view(-1).index_copy_(0, places, values)
    else:
        tensor.index_put_(torch.unravel_index(places, tensor.shape), values)
