"""What the selection pass needs where several processes share it."""

from collections.abc import Mapping

import torch
from mmengine.dist import all_reduce
from torch import Tensor


def sum_over_ranks(tensors: Mapping[str, Tensor]) -> None:
    """Replace every tensor, in place, by its sum over the ranks; alone, nothing changes.

    tensors: of any shape, strides and type, under the same names on every rank. Low precisions are
    summed in fp32. Names go in alphabetical order, whatever order a rank holds them
    in, so that no rank adds another tensor than its peers.
    """
    for name in sorted(tensors):
        tensor = tensors[name]
        whole = not tensor.is_floating_point()
        precise = tensor.dtype if whole else torch.promote_types(tensor.dtype, torch.float32)
        # The communication libraries take contiguous memory alone.
        total = tensor.detach().to(precise).contiguous()
        all_reduce(total)
        tensor.detach().copy_(total)
