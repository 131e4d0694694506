"""Autograd functions whose weight gradient exists at the selected entries only."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gps_seg.sparse.engine import ProductIndex, index_tensors, product_index


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


def merged_weight(weight: Tensor, values: Tensor, index: Tensor) -> Tensor:
    """The weight with `values` at `index`, as a new tensor, differentiable in both.

    weight: any shape. values: (num,). index: (num,) int64, places in the flattened weight.
    Made of plain operations, so that every transform of torch.func goes through.
    """
    merged = weight.reshape(-1).index_copy(0, index, values.to(weight.dtype))
    return merged.view(weight.shape)


def autocast(tensor: Tensor) -> Tensor:
    """The tensor in the type that autocast would give it in a matrix product."""
    device = tensor.device.type
    if not torch.is_autocast_enabled(device) or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.get_autocast_dtype(device))


class _SelectedLinear(torch.autograd.Function):
    """A linear layer that keeps, for backward, only the input columns its selection touches.

    It takes and gives rows, (rows, inputs) and (rows, neurons): of more dimensions `F.linear` makes
    a view, and what a custom function gives as a view cannot be changed in place (by a ReLU, say).
    """

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        values: Tensor,
        engine: str,
        columns: Tensor | None,
        *parts: Tensor | None,
    ) -> Tensor:
        computed = autocast(input)
        across = computed.T
        # Rows of the transposed input are far cheaper to pick than columns of the input.
        kept = across if columns is None else across.index_select(0, columns)
        # The parameter itself is saved and cast again in backward: a low-precision copy of every
        # frozen weight, kept from forward to backward, would cost more than the sliced inputs save.
        ctx.save_for_backward(kept, weight if ctx.needs_input_grad[0] else None, *parts)
        ctx.engine = engine
        ctx.dtypes = input.dtype, values.dtype, None if bias is None else bias.dtype
        tensors = computed, autocast(weight), None if bias is None else autocast(bias)
        with torch.autocast(input.device.type, enabled=False):
            return F.linear(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        kept, weight, *parts = ctx.saved_tensors
        input_dtype, values_dtype, bias_dtype = ctx.dtypes
        needs_input, _, needs_bias = ctx.needs_input_grad[:3]
        grad = grad_outputs[0]
        grad_input = (grad @ weight.to(grad.dtype)).to(input_dtype) if needs_input else None
        grad_bias = grad.sum(0).to(bias_dtype) if needs_bias else None
        index = product_index(ctx.engine, None, *parts)
        grad_values = index.gradient(grad.T, kept).to(values_dtype)
        return grad_input, None, grad_bias, grad_values, *[None] * (2 + len(parts))


def selected_linear(
    input: Tensor, weight: Tensor, bias: Tensor | None, values: Tensor, index: ProductIndex
) -> Tensor:
    """`F.linear` for a frozen weight, with the gradient of its selected entries.

    input: (..., inputs). weight: (neurons, inputs), already holding `values`. bias: (neurons,).
    values: (num,). index: the same entries. Only the touched columns of the input are kept.
    """
    rows = input.reshape(-1, input.shape[-1])
    out = _SelectedLinear.apply(rows, weight, bias, values, index.engine, *index_tensors(index))
    return out.view(*input.shape[:-1], len(weight))
