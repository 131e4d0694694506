"""Autograd functions whose weight gradient exists at the selected entries only."""

import functools
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gps_seg.sparse.engine import EntryIndex


class _GatheredGradient(torch.autograd.Function):
    """The weight going forward; coming back, its gradient at the selected entries."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, values: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.dtype = values.dtype
        return weight.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor, None]:
        (index,) = ctx.saved_tensors
        return None, torch.take(grad_outputs[0], index).to(ctx.dtype), None


def gathered_gradient(weight: Tensor, values: Tensor, index: Tensor) -> Tensor:
    """Use a frozen weight so that `values`, its selected entries, receive the gradient.

    weight: any shape, already holding `values` at `index`. values: (num,). index: (num,) int64,
    places in the flattened weight. Returns an alias of the weight for one use in a forward pass.

    Right for any operation; its price is the dense weight gradient, which lives until the gather.
    """
    return _GatheredGradient.apply(weight, values, index)


def autocast_dtype(tensor: Tensor) -> torch.dtype | None:
    """The type that autocast computes matrix products of this device in, or None outside it."""
    device = tensor.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


@functools.cache
def _quiet_sparse_tensors() -> None:
    """Let torch say once, unheard, that its compressed sparse tensors are in beta."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        nought = torch.zeros(1, dtype=torch.int64)
        torch.sparse_csr_tensor(nought, nought[:0], torch.zeros(0), (0, 0), check_invariants=False)


# So many vectors at once that their part of a wide layer's gradient stays in the cache.
CHUNK = 512


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
_sampled_operator = torch.library.custom_op(
    'gps_seg::sampled_product', sampled_product, mutates_args=()
)


@_sampled_operator.register_fake
def _(left: Tensor, right: Tensor, offsets: Tensor, positions: Tensor) -> Tensor:
    dtype = torch.promote_types(left.dtype, torch.float32)
    return left.new_empty(positions.shape, dtype=dtype)


def entry_gradient(grad: Tensor, kept: Tensor, index: EntryIndex) -> Tensor:
    """The gradient of the selected entries of a matrix product's weight.

    grad: (neurons, n), of the output. kept: (touched inputs, n), of the input. Returns (num,).
    """
    if index.engine == 'sampled':
        assert index.first is not None
        product = _sampled_operator if torch.compiler.is_compiling() else sampled_product
        return product(grad, kept, index.first, index.second)
    rows = grad if index.first is None else grad.index_select(0, index.first)
    return torch.take(rows @ kept.T, index.second)


class _SelectedLinear(torch.autograd.Function):
    """A linear layer that keeps, for backward, only the input columns its selection touches."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        values: Tensor,
        engine: str,
        columns: Tensor | None,
        first: Tensor | None,
        second: Tensor,
    ) -> Tensor:
        dtype = autocast_dtype(input) or input.dtype
        computed = input.to(dtype)
        across = computed.reshape(-1, computed.shape[-1]).T
        # Rows of the transposed input are far cheaper to pick than columns of the input.
        kept = across if columns is None else across.index_select(0, columns)
        # The parameter itself is saved and cast again in backward: a low-precision copy of every
        # frozen weight, kept from forward to backward, would cost more than the sliced inputs save.
        ctx.save_for_backward(kept, weight, first, second)
        ctx.engine = engine
        ctx.dtypes = input.dtype, values.dtype, None if bias is None else bias.dtype
        with torch.autocast(input.device.type, enabled=False):
            return F.linear(computed, weight.to(dtype), None if bias is None else bias.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        kept, weight, first, second = ctx.saved_tensors
        input_dtype, values_dtype, bias_dtype = ctx.dtypes
        needs_input, _, needs_bias = ctx.needs_input_grad[:3]
        grad = grad_outputs[0]
        rows = grad.reshape(-1, grad.shape[-1])
        grad_input = (grad @ weight.to(grad.dtype)).to(input_dtype) if needs_input else None
        grad_bias = rows.sum(0).to(bias_dtype) if needs_bias else None
        index = EntryIndex(ctx.engine, None, first, second)
        grad_values = entry_gradient(rows.T, kept, index).to(values_dtype)
        return grad_input, None, grad_bias, grad_values, None, None, None, None


def selected_linear(
    input: Tensor, weight: Tensor, bias: Tensor | None, values: Tensor, index: EntryIndex
) -> Tensor:
    """`F.linear` for a frozen weight, with the gradient of its selected entries.

    input: (..., inputs). weight: (neurons, inputs), already holding `values`. bias: (neurons,).
    values: (num,). index: the same entries. Only the touched columns of the input are kept.
    """
    return _SelectedLinear.apply(
        input, weight, bias, values, index.engine, index.columns, index.first, index.second
    )
