"""What a training step of SAM holds at 1024 pixels: live tensor bytes, counted.

    gps-seg bench run sam-memory

One image, the two passes and a step of Adam whose moments exist already. `peak_mib` is the largest
sum of live tensor bytes beside the weights and buffers: activations, gradients, moments and what
single operations hold in passing. It is told by the allocator (the profiler's events on the CPU,
its statistics on CUDA), so that it sees all that torch allocates, inside operations too; it does
not see scratch memory of oneDNN and MKL, what the allocator holds back, nor the process itself.

A row `counted` is the same step with every matrix product and convolution left out (its result is
a fixed pattern of the same shape): all else allocates as ever, and a step of SAM-B takes ten
seconds on one core. What convolutions hold in passing is then not seen. A row `measured` computes
all.

Methods are those of `cost`, such as full, lora, linear, gps and gps_last25; with `_recomputed`
behind, all trained blocks run again in the backward pass. `select` is the selection pass of GPS
over one image in two views, one view at a time, and `select_recomputed` the same a block at a time.
Weights are random: they change no byte. The selection touches as many input columns of each layer
as ViT-Tiny's real one.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from gps_seg.methods import describe
from gps_seg.methods.late import late_parts
from gps_seg.models import SAMSegmentor
from gps_seg.selection import Selection, SupconGradient, score
from gps_seg.tuning.recomputing import blocks_recomputed, recompute_blocks
from gps_seg.tuning.step_counters import num_bytes, tensors_held
from gps_seg.tuning.trial_step import trained_blocks
from tools.benchmarks.column_shares import load_shares, selection_with_shares
from tools.benchmarks.meters import MIB, peak_bytes
from tools.benchmarks.sam_formula import peak_by_formula
from tools.benchmarks.subjects import SEED, subject_of
from tools.benchmarks.ways import Way, way

BY = ('measured', 'counted', 'formula')
PRODUCTS = {
    torch.ops.aten.mm,
    torch.ops.aten.addmm,
    torch.ops.aten.bmm,
    torch.ops.aten.baddbmm,
    torch.ops.aten.linear,
    torch.ops.aten.convolution,
    torch.ops.aten.convolution_backward,
}
RECOMPUTED = '_recomputed'
SELECT = 'select'
# peft-sam's published training memory on a GPU, GiB (SAM-B): another measure, of a whole process.
PUBLISHED_GIB = {
    'full': 20.5,
    'lora': 19.6,
    'lora_last50': 14.2,
    'lora_last25': 10.5,
    'lora_last08': 9.7,
    'linear': 7.6,
}


def rows(
    arch: str,
    methods: Sequence[str],
    *,
    size: int = 1024,
    amp: bool = False,
    by: str = 'counted',
) -> list[dict[str, Any]]:
    """One row per method.

    arch: a key of ARCHITECTURES. size: side of the image in pixels. amp: bf16 by autocast.
    by: 'measured', 'counted', or 'formula' (from what each block saves, see `sam_formula`; full,
    linear and gps alone). Raises ValueError for an unknown method.
    """
    if by not in BY:
        raise ValueError(f'by must be one of {", ".join(BY)}, got {by!r}')
    measured = []
    for method in methods:
        row: dict[str, Any] = {'model': arch, 'method': method, 'dtype': 'bf16' if amp else 'fp32'}
        if by == 'formula':
            peak, seconds = peak_by_formula(arch, method, size=size, amp=amp), None
        else:
            peak, seconds = measure(arch, method, size=size, amp=amp, products=by == 'measured')
        row |= {'peak_mib': round(peak / MIB, 1), 'by': by}
        timed = by == 'measured'
        measured.append({**row, 'seconds': round(seconds or 0.0, 1)} if timed else row)
    return measured


def measure(
    arch: str, method: str, *, size: int, amp: bool, products: bool = True
) -> tuple[int, float]:
    """Peak bytes beside the weights, and the seconds of that run.

    products: whether matrix products and convolutions are computed.
    """
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.manual_seed(SEED)
    model: Any = SAMSegmentor(
        arch=arch, image_size=size, data_preprocessor=dict(type='SegDataPreProcessor')
    )
    model.fresh_names = frozenset()  # as if a file had filled it
    model.to(device).train()
    run, held = _run_of(model, method, size=size, device=device, amp=amp)
    start = time.monotonic()
    with nullcontext() if products else WithoutProducts():
        peak = peak_bytes(run, device)
    return held + peak, time.monotonic() - start


class WithoutProducts(TorchDispatchMode):
    """Gives a pattern in place of matrix products and convolutions, and of their gradients."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket not in PRODUCTS:
            return func(*args, **(kwargs or {}))
        outputs = func(*tree_map(_on_meta, args), **tree_map(_on_meta, kwargs or {}))
        device = next(arg.device for arg in args if isinstance(arg, Tensor))
        return tree_map(partial(_pattern, device=device), outputs)


def _pattern(output: Any, device: torch.device) -> Any:
    """Mostly zeros of an output's shape; with zeros alone a selection would score nothing."""
    if not isinstance(output, Tensor):
        return output
    made = torch.zeros_like(output, device=device)
    made.flatten()[::7] = 0.01
    return made


def _on_meta(value: Any) -> Any:
    return value.to('meta') if isinstance(value, Tensor) else value


def _run_of(
    model: Any, method: str, *, size: int, device: str, amp: bool
) -> tuple[Callable[[], Any], int]:
    """What is measured, and the bytes beside the weights that exist before it."""
    images = subject_of('sam_vit_b').images(2, size, device)
    sample = one_object(size)
    name, again = method.removesuffix(RECOMPUTED), method.endswith(RECOMPUTED)
    if name == SELECT or name.startswith(f'{SELECT}_last'):
        share = int(name.removeprefix(f'{SELECT}_last')) if name != SELECT else 100
        return _selection(model, images, sample, again=again, share=share, amp=amp), 0
    made = way(name)(model, _drawn_selection)
    if again:
        assert made.tuning is not None
        recompute_blocks(model, trained_blocks(made.tuning._applied.parts))

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=amp):
            losses = made.model(images[:1], [sample], mode='loss')
        sum(losses.values()).backward()
        made.optimizer.step()
        made.optimizer.zero_grad(set_to_none=True)

    return step, moments_of(made)


def moments_of(made: Way) -> int:
    """Give the optimizer its moments, without a step that moves anything. Returns their bytes."""
    trained = [p for group in made.optimizer.param_groups for p in group['params']]
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    made.optimizer.step()
    made.optimizer.zero_grad(set_to_none=True)
    states = [value for state in made.optimizer.state.values() for value in state.values()]
    return num_bytes([value for value in states if isinstance(value, Tensor)])


def _selection(
    model: Any, views: Tensor, sample: SegDataSample, *, again: bool, share: int, amp: bool
) -> Callable[[], Any]:
    """GPS's pass over one image in two views, of the last `share` percent of the blocks."""
    parts = late_parts(model, describe(model), 1 - share / 100)
    criterion = SupconGradient(
        parts.backbone_weights(model), lambda view: model.embed(view, [sample])
    )

    def run() -> Any:
        with torch.autocast(views.device.type, torch.bfloat16, enabled=amp):
            if not again:
                return score(model, criterion, [list(views.split(1))])
            with blocks_recomputed(model, parts.blocks):
                return score(model, criterion, [list(views.split(1))])

    return run


def _drawn_selection(model: nn.Module, k: int) -> Selection:
    return selection_with_shares(describe(model).backbone_weights(model), load_shares(k), k=k)


def one_object(size: int) -> SegDataSample:
    """The mask of one object, an ellipse."""
    across = torch.linspace(-1, 1, size)
    inside = (across[:, None] / 0.5) ** 2 + (across[None] / 0.3) ** 2 < 1
    return SegDataSample(gt_sem_seg=PixelData(data=inside.long()[None]))


def weights_mib(arch: str) -> float:
    """What the weights and buffers take, which is not in the peak."""
    model = SAMSegmentor(
        arch=arch, image_size=1024, data_preprocessor=dict(type='SegDataPreProcessor')
    )
    return num_bytes(tensors_held(model)) / MIB
