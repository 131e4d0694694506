"""Autograd functions whose weight gradient exists at the selected entries only."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


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


def _autocast_dtype(tensor: Tensor) -> torch.dtype | None:
    """The type that autocast computes matrix products of this device in, or None outside it."""
    device = tensor.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


class _ColumnSlicedLinear(torch.autograd.Function):
    """A linear layer that keeps, for backward, only the input columns its selection touches."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        values: Tensor,
        columns: Tensor,
        places: Tensor,
    ) -> Tensor:
        dtype = _autocast_dtype(input) or input.dtype
        # The parameter itself is saved and cast again in backward: a low-precision copy of every
        # frozen weight, kept from forward to backward, would cost more than the sliced inputs save.
        ctx.save_for_backward(input.to(dtype).index_select(-1, columns), weight, places)
        ctx.dtypes = input.dtype, values.dtype, None if bias is None else bias.dtype
        with torch.autocast(input.device.type, enabled=False):
            return F.linear(
                input.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
            )

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        sliced, weight, places = ctx.saved_tensors  # type: ignore[attr-defined]
        input_dtype, values_dtype, bias_dtype = ctx.dtypes  # type: ignore[attr-defined]
        needs_input, _, needs_bias = ctx.needs_input_grad[:3]  # type: ignore[attr-defined]
        grad = grad_outputs[0]
        rows = grad.reshape(-1, grad.shape[-1])
        grad_input = (grad @ weight.to(grad.dtype)).to(input_dtype) if needs_input else None
        grad_bias = rows.sum(0).to(bias_dtype) if needs_bias else None
        small = rows.T @ sliced.reshape(len(rows), sliced.shape[-1])  # (neurons, touched columns)
        return grad_input, None, grad_bias, torch.take(small, places).to(values_dtype), None, None


def column_sliced_linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    values: Tensor,
    columns: Tensor,
    places: Tensor,
) -> Tensor:
    """`F.linear` for a frozen weight, with the gradient of its selected entries.

    input: (..., inputs). weight: (neurons, inputs), already holding `values`. bias: (neurons,).
    values: (num,). columns: (touched,) int64, the inputs with a selected entry. places: (num,)
    int64, where each entry lies in the flattened (neurons, touched) matrix.

    The weight gradient is the product of the output gradient with the touched columns only.
    """
    return _ColumnSlicedLinear.apply(input, weight, bias, values, columns, places)
