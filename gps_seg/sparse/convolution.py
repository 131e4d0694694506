"""Convolutions whose weight gradient exists at the selected entries only."""

from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gps_seg.sparse.engine import EntryIndex
from gps_seg.sparse.functional import autocast_dtype, entry_gradient


@dataclass(frozen=True)
class Geometry:
    """What a convolution does besides its weight; tuples have one number per spatial dimension.

    The fields are what `torch.convolution` takes after the bias, in its order.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int


def input_planes(input: Tensor, columns: Tensor, kernel: tuple[int, int], stride: Any) -> Tensor:
    """The inputs of a convolution without padding, as the rows of a matrix product.

    input: (B, C, H, W). columns: (touched,) int64, places in the flattened (C, *kernel).
    Returns (touched, B * h * w), h and w being the output's size.
    """
    windows = input.unfold(2, kernel[0], stride[0]).unfold(3, kernel[1], stride[1])
    channel = columns // (kernel[0] * kernel[1])
    within = columns % (kernel[0] * kernel[1])
    # B C h w i j -> touched B h w
    planes = windows.permute(1, 4, 5, 0, 2, 3)[channel, within // kernel[1], within % kernel[1]]
    return planes.flatten(1)


class _SelectedConvolution(torch.autograd.Function):
    """A convolution that keeps the touched planes of its input, or else the input itself."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        values: Tensor,
        geometry: Geometry,
        engine: str,
        columns: Tensor | None,
        first: Tensor | None,
        second: Tensor,
    ) -> Tensor:
        dtype = autocast_dtype(input) or input.dtype
        computed = input.to(dtype)
        kept = computed
        if engine != 'dense':
            assert columns is not None
            kernel = weight.shape[2], weight.shape[3]
            kept = input_planes(computed, columns, kernel, geometry.stride)
        ctx.save_for_backward(kept, weight, first, second)
        ctx.engine, ctx.geometry, ctx.shape = engine, geometry, computed.shape
        ctx.dtypes = input.dtype, values.dtype, None if bias is None else bias.dtype
        with torch.autocast(input.device.type, enabled=False):
            return torch.convolution(
                computed,
                weight.to(dtype),
                None if bias is None else bias.to(dtype),
                *astuple(geometry),
            )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        kept, weight, first, second = ctx.saved_tensors
        input_dtype, values_dtype, bias_dtype = ctx.dtypes
        needs_input, _, needs_bias = ctx.needs_input_grad[:3]
        (grad,) = grad_outputs
        dense = ctx.engine == 'dense'
        # Where only planes were kept, the input's values are not needed: its gradient is linear.
        input = kept if dense else grad.new_empty(()).expand(ctx.shape)
        grad_input = grad_bias = grad_weight = None
        if needs_input or needs_bias or dense:
            grad_input, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
                grad,
                input,
                weight.to(grad.dtype),
                [grad.shape[1]],
                *astuple(ctx.geometry),
                [needs_input, dense, needs_bias],
            )
        if dense:
            assert grad_weight is not None
            grad_values = torch.take(grad_weight, second)
        else:
            index = EntryIndex(ctx.engine, None, first, second)
            grad_values = entry_gradient(grad.transpose(0, 1).flatten(1), kept, index)
        return (
            grad_input.to(input_dtype) if grad_input is not None else None,
            None,
            grad_bias.to(bias_dtype) if grad_bias is not None else None,
            grad_values.to(values_dtype),
            *[None] * 5,
        )


def selected_convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    values: Tensor,
    geometry: Geometry,
    index: EntryIndex,
) -> Tensor:
    """A convolution with a frozen weight, with the gradient of its selected entries.

    input: (B, C, ...). weight: as the layer stores it, already holding `values` (num,).
    index: with the engine 'dense', `second` holds the places of the entries in the flattened
    weight, and any convolution is right; with the others it must be a 2D one with one group,
    neither transposed, padded nor dilated.
    """
    return _SelectedConvolution.apply(
        input,
        weight,
        bias,
        values,
        geometry,
        index.engine,
        index.columns,
        index.first,
        index.second,
    )
