"""Which inputs each weight multiplies, watched from outside while a model runs."""

import inspect
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gps_seg.selection.scores import SelectableWeight

CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
_ATTENTION = inspect.signature(F.multi_head_attention_forward)
# Entries of an activation whose sizes are copied at once.
PART = 2**20
Extent = int | Sequence[int]


class InputRecorder(TorchFunctionMode):
    """Within it, sums up the size of what each weight multiplies, however its layer is called.

    The functions themselves are watched, not the layers: attention never calls its projection, and
    Swin-V2 reads its qkv weight without its layer. A weight is known by identity; a part of one (an
    attention's in-projection for queries, keys or values) by where that part lies in the whole.
    While functions are watched, torch keeps attention off its fused kernel, which would hide its
    inputs.

    sums: by name, (blocks, inputs) float64; see `SelectableWeight.blocks`. counts: by name,
    (blocks,) float64, the positions that were summed over.
    """

    def __init__(self, weights: Collection[SelectableWeight]) -> None:
        super().__init__()
        self.weights = {id(weight.parameter): weight for weight in weights}
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor] = {}
        for weight in weights:
            matrix = weight.matrix(weight.parameter.detach())
            self.sums[weight.name] = torch.zeros(
                weight.blocks, matrix.shape[1], dtype=torch.float64, device=matrix.device
            )
            self.counts[weight.name] = torch.zeros(
                weight.blocks, dtype=torch.float64, device=matrix.device
            )

    def means(self, name: str) -> Tensor:
        """(blocks, inputs) float64, the mean size of each input; 0 if none was met."""
        return self.sums[name] / self.counts[name].clamp_min(1)[:, None]

    def tensors(self) -> dict[str, Tensor]:
        """All sums and counts, to be summed over ranks in place."""
        counts = {f'{name}/count': count for name, count in self.counts.items()}
        return {**self.sums, **counts}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            return self._record_attention(*args, **kwargs)
        # First the call, so that wrong inputs raise what they raise without a recorder.
        output = func(*args, **kwargs)
        if func is F.linear:
            self._record_linear(*args, **kwargs)
        elif func in CONVOLUTIONS:
            self._record_convolution(*args, **kwargs)
        elif func in TRANSPOSED:
            self._record_transposed(*args, **kwargs)
        return output

    def _record_linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
        place = self._place(weight)
        if place is not None:
            rows = input.reshape(-1, input.shape[-1])
            self._add(*place, _sizes(rows)[None], len(rows))

    def _record_convolution(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Extent = 1,
        padding: Extent | str = 0,
        dilation: Extent = 1,
        groups: int = 1,
    ) -> None:
        place = self._place(weight)
        if place is None:
            return
        kernel = weight.shape[2:]
        steps, gaps = _each(stride, kernel), _each(dilation, kernel)
        maps = F.pad(_sizes(_batched(input, weight)), _padding(padding, kernel, gaps))
        outputs = [
            (length - gap * (extent - 1) - 1) // step + 1
            for length, extent, step, gap in zip(maps.shape[1:], kernel, steps, gaps, strict=True)
        ]
        windows = [
            [slice(o * gap, o * gap + step * (num - 1) + 1, step) for o in range(extent)]
            for num, extent, step, gap in zip(outputs, kernel, steps, gaps, strict=True)
        ]
        num = _batched(input, weight).shape[0] * torch.Size(outputs).numel()
        self._add(*place, _per_kernel_entry(maps, windows, groups), num)

    def _record_transposed(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Extent = 1,
        padding: Extent = 0,
        output_padding: Extent = 0,
        groups: int = 1,
        dilation: Extent = 1,
    ) -> None:
        place = self._place(weight)
        if place is None:
            return
        kernel = weight.shape[2:]
        maps = _sizes(_batched(input, weight))
        windows = []
        for length, extent, step, pad, more, gap in zip(
            maps.shape[1:],
            kernel,
            *(_each(value, kernel) for value in (stride, padding, output_padding, dilation)),
            strict=True,
        ):
            size = (length - 1) * step - 2 * pad + gap * (extent - 1) + more + 1
            # Input i meets kernel entry o at output i * step - pad + o * gap, if there is one.
            shifts = [o * gap - pad for o in range(extent)]
            windows.append(
                [
                    slice(max(-(shift // step), 0), max((size - 1 - shift) // step + 1, 0))
                    for shift in shifts
                ]
            )
        num = _batched(input, weight).shape[0] * maps[0].numel()
        self._add(*place, _per_kernel_entry(maps, windows, groups), num)

    def _record_attention(self, *args: Any, **kwargs: Any) -> Any:
        """Attention is one function to the mode: its projections are recorded from outside."""
        call = _ATTENTION.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        inputs = {role: given[role] for role in ('query', 'key', 'value')}
        if given['use_separate_proj_weight']:
            parts = [given[f'{role[0]}_proj_weight'] for role in inputs]
        else:
            parts = list(given['in_proj_weight'].chunk(3))
        for input, part in zip(inputs.values(), parts, strict=True):
            self._record_linear(input, part)
        # What the output projection multiplies is what attention gives without it.
        projection, bias = given['out_proj_weight'], given['out_proj_bias']
        given['out_proj_weight'] = torch.eye(len(projection)).to(projection)
        given['out_proj_bias'] = None
        attended, maps = F.multi_head_attention_forward(*call.args, **call.kwargs)
        self._record_linear(attended, projection)
        return F.linear(attended, projection, bias), maps

    def _place(self, weight: Tensor) -> tuple[SelectableWeight, slice] | None:
        """The weight and the blocks of it that a tensor is, if it is one or a part of one."""
        if id(weight) in self.weights:
            known = self.weights[id(weight)]
            return known, slice(0, known.blocks)
        if weight._base is None or id(weight._base) not in self.weights:
            return None
        known = self.weights[id(weight._base)]
        whole = known.parameter
        start, height = weight.storage_offset() - whole.storage_offset(), len(whole) // known.blocks
        if (
            weight.shape[1:] != whole.shape[1:]
            or weight.stride() != whole.stride()
            or start % (height * whole.stride(0))
            or len(weight) % height
        ):
            raise ValueError(
                f'a part of {known.name}, of shape {tuple(weight.shape)}, is used by itself, which '
                'the weight_activation criterion does not follow; leave that weight out, or take '
                'another criterion'
            )
        first = start // (height * whole.stride(0))
        return known, slice(first, first + len(weight) // height)

    def _add(self, weight: SelectableWeight, blocks: slice, sums: Tensor, num: int) -> None:
        self.sums[weight.name][blocks] += sums
        self.counts[weight.name][blocks] += num


def _sizes(values: Tensor) -> Tensor:
    """Sum of the absolute values over the first dimension, without a copy of all values."""
    precise = torch.promote_types(values.dtype, torch.float32)
    total = torch.zeros(values.shape[1:], dtype=precise, device=values.device)
    # In parts: a norm would need no copy at all, but takes five times as long on a CPU.
    for part in values.split(max(PART // max(total.numel(), 1), 1)):
        total += part.abs().sum(dim=0, dtype=precise)
    return total


def _batched(input: Tensor, weight: Tensor) -> Tensor:
    return input if input.dim() == weight.dim() else input[None]


def _each(value: Extent, kernel: Sequence[int]) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * len(kernel) if len(values) == 1 else values


def _padding(padding: Extent | str, kernel: Sequence[int], gaps: list[int]) -> list[int]:
    """As `F.pad` takes it: left and right of the last dimension first."""
    if padding == 'valid':
        padding = 0
    if isinstance(padding, str):  # 'same': an odd total pads one more on the right
        totals = [gap * (extent - 1) for extent, gap in zip(kernel, gaps, strict=True)]
        sides = [(total // 2, total - total // 2) for total in totals]
    else:
        sides = [(pad, pad) for pad in _each(padding, kernel)]
    return [pad for pair in reversed(sides) for pad in pair]


def _per_kernel_entry(maps: Tensor, windows: list[list[slice]], groups: int) -> Tensor:
    """Sums of (C, ...) maps over each kernel entry's window, (groups, C / groups * entries)."""
    sums = [
        maps[(slice(None), *window)].flatten(1).sum(1) for window in itertools.product(*windows)
    ]
    return torch.stack(sums, dim=1).reshape(groups, -1)
