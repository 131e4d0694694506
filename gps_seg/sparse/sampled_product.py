"""Some entries of a matrix product, each as one dot product."""

import functools
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

# So many vectors at once that their part of a wide layer's gradient stays in the cache.
CHUNK = 512


@functools.cache
def _quiet_sparse_tensors() -> None:
    """Let torch say once, unheard, that its compressed sparse tensors are in beta."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        zero = torch.zeros(1, dtype=torch.int64)
        torch.sparse_csr_tensor(zero, zero[:0], torch.zeros(0), (0, 0), check_invariants=False)


def sampled_product(left: Tensor, right: Tensor, offsets: Tensor, positions: Tensor) -> Tensor:
    """Some entries of `left @ right.T`, each as one dot product.

    left: (rows, n). right: (columns, n). offsets: (rows + 1,), positions: (num,) int64: row r has
    the columns `positions[offsets[r]:offsets[r + 1]]`, ascending. Returns (num,), at least fp32.
    """
    _quiet_sparse_tensors()
    precise = torch.promote_types(left.dtype, torch.float32)
    pattern = torch.sparse_csr_tensor(
        offsets,
        positions,
        torch.zeros(len(positions), dtype=precise, device=left.device),
        (len(left), len(right)),
        check_invariants=False,
    )
    total = torch.zeros(len(positions), dtype=precise, device=left.device)
    num_parts = max(-(-left.shape[1] // CHUNK), 1)
    for some, others in zip(left.chunk(num_parts, 1), right.chunk(num_parts, 1), strict=True):
        across = some if some.stride(1) == 1 else _turned(some)
        across, others = across.to(precise).contiguous(), others.to(precise).contiguous()
        total += torch.sparse.sampled_addmm(pattern, across, others.T, beta=0.0).values()
    return total


def _turned(matrix: Tensor) -> Tensor:
    """A transposed view as contiguous memory, much faster than `contiguous()` does it.

    Behind the padding no column falls on the same cache lines again, as thousands of columns of a
    power of two would; and with a third dimension the copy runs on all threads, each of which then
    finds what it reads next in its own cache.
    """
    padded = F.pad(matrix.T, (0, 16))[:, : len(matrix)]
    return padded.unsqueeze(1).permute(1, 2, 0).contiguous()[0]


# The same as one operator, so that torch.compile need not look into sparse tensors. Outside of it
# the plain function saves the dispatch, a tenth of a millisecond for each layer.
sampled_operator = torch.library.custom_op(
    'gps_seg::sampled_product', sampled_product, mutates_args=()
)


@sampled_operator.register_fake
def _(left: Tensor, right: Tensor, offsets: Tensor, positions: Tensor) -> Tensor:
    dtype = torch.promote_types(left.dtype, torch.float32)
    return left.new_empty(positions.shape, dtype=dtype)
