"""Convolutions whose weight gradient exists at the selected entries only."""

from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gps_seg.sparse.engine import DenseIndex, Index, index_tensors, product_index
from gps_seg.sparse.functional import autocast


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
        *parts: Tensor | None,
    ) -> Tensor:
        computed = autocast(input)
        kept = computed
        if engine != 'dense':
            assert columns is not None
            kernel = weight.shape[2], weight.shape[3]
            kept = input_planes(computed, columns, kernel, geometry.stride)
        ctx.save_for_backward(kept, weight, *parts)
        ctx.engine, ctx.geometry, ctx.shape = engine, geometry, computed.shape
        ctx.dtypes = input.dtype, values.dtype, None if bias is None else bias.dtype
        tensors = computed, autocast(weight), None if bias is None else autocast(bias)
        with torch.autocast(input.device.type, enabled=False):
            return torch.convolution(*tensors, *astuple(geometry))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        kept, weight, *parts = ctx.saved_tensors
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
            grad_values = torch.take(grad_weight, parts[0])
        else:
            index = product_index(ctx.engine, None, *parts)
            grad_values = index.gradient(grad.transpose(0, 1).flatten(1), kept)
        return (
            grad_input.to(input_dtype) if grad_input is not None else None,
            None,
            grad_bias.to(bias_dtype) if grad_bias is not None else None,
            grad_values.to(values_dtype),
            *[None] * (3 + len(parts)),
        )


def selected_convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    values: Tensor,
    geometry: Geometry,
    index: Index,
) -> Tensor:
    """A convolution with a frozen weight, with the gradient of its selected entries.

    input: (B, C, ...). weight: as the layer stores it, already holding `values` (num,).
    index: with a `DenseIndex` any convolution is right; with the others it must be a 2D one with
    one group, neither transposed, padded nor dilated, and the index names all its columns.
    """
    columns_and_parts = index_tensors(index)
    if isinstance(index, DenseIndex):
        columns_and_parts = (None, *columns_and_parts)
    return _SelectedConvolution.apply(
        input, weight, bias, values, geometry, index.engine, *columns_and_parts
    )
