"""What a training step costs with each method: operations, memory, time.

    gps-seg bench run cost

Operations and bytes are counted; times are medians of steps interleaved in one process, and only
their ratio to the first method means something on another machine. watch_percent: the part of a
step that keeps compact values and weights at one truth. Methods: full, linear, bias, gps (K = 1),
gps_k<K>, gps_dense (as published: dense gradients and a mask), lora; with the extra `peers` also
PEFT's peft_lora, shira and supertuning; adapter, ssf, vpt_deep, vpt_shallow, norm, random,
magnitude, lora_qv (the published setting), adapter_houlsby and last_k_blocks (k = 2); and of
vit_tiny alone, since they choose by real images, fps, grft, spt_lora and spt_adapter, all at K = 1.
gps_last50 trains the last 50 % of the blocks (train_from);
so do full_last50, bias_last50 and peft_lora_last50. gps_last50_cached reads what comes before them
from the disk (gps_seg.cache_prefix) instead of computing it.

ViT-Tiny's selection is real where GPS_SEG_DATA has its weights and images; every other model gets
a selection that touches as many of its input columns, layer by layer, as ViT-Tiny's real one.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from gps_seg.methods import describe
from gps_seg.selection import Budget, Selection, neuron
from tools.benchmarks.cached import prefix_cached
from tools.benchmarks.column_shares import load_shares, selection_with_shares, vit_tiny_scores
from tools.benchmarks.meters import MIB, TrainingStep, count, time_interleaved
from tools.benchmarks.real_images import has_real_data, pretrained_vit_tiny
from tools.benchmarks.subjects import SEED, Subject, subject_of
from tools.benchmarks.watch import watch_seconds
from tools.benchmarks.ways import CACHED, Way, way

Loss = Callable[[nn.Module], Tensor]


class Selections:
    """The selection of each K for one model.

    shares: take entries with the measured column shares even where real scores could be computed.
    """

    def __init__(self, name: str, *, shares: bool = False) -> None:
        self.real = has_real_data(name)
        scored = self.real and not shares
        self.source = 'real gradients' if scored else 'column shares of ViT-Tiny'
        self._scores = vit_tiny_scores() if scored else None

    def __call__(self, model: nn.Module, k: int) -> Selection:
        if self._scores is not None:
            return neuron(self._scores, Budget(k=k))
        return selection_with_shares(describe(model).backbone_weights(model), load_shares(k), k=k)


def rows(
    model: str,
    methods: Sequence[str],
    *,
    batch: int = 4,
    size: int | None = None,
    rounds: int = 7,
    amp: str | None = None,
    shares: bool = False,
) -> list[dict[str, Any]]:
    """One row per method, the counted figures first.

    model: one of SUBJECTS, or any of timm. batch: images. size: their side in pixels; by default
    the model's own. rounds: timed steps of each method; 0 to count alone. amp: 'bfloat16' or
    'float16' for mixed precision, without cached prefixes. shares: see `Selections`. Raises
    ValueError for an unknown model or method.
    """
    if amp and any(method.endswith(CACHED) for method in methods):
        raise ValueError(
            'ways with a cached prefix are measured without amp; leave one of them out'
        )
    subject, device = subject_of(model), 'cuda' if torch.cuda.is_available() else 'cpu'
    size = size or subject.size
    images = subject.images(batch, size, device)
    loss = subject.loss(batch, size, device)
    selections = Selections(model, shares=shares)
    made = {method: way(method) for method in methods}
    ways: dict[str, Way] = {}
    steps: dict[str, TrainingStep] = {}
    measured: list[dict[str, Any]] = []
    with ExitStack() as caches:
        for method, make in made.items():
            built = _built(subject, size, real=selections.real).to(device).train()
            ways[method] = make(built, selections)
            if method.endswith(CACHED):
                caches.enter_context(prefix_cached(ways[method], images))
            whole_loss = _with_penalty(loss, ways[method])
            steps[method] = TrainingStep(ways[method].model, ways[method].optimizer, whole_loss)
            source = selections.source if method.startswith('gps') else ''
            with torch.autocast(device, getattr(torch, amp or 'float32'), bool(amp)):
                counted = _counted(steps[method], ways[method])
            measured.append({'model': model, 'method': method, 'selection': source, **counted})
        if rounds:
            _time(measured, ways, steps, rounds=rounds, device=device)
    return measured


def _time(
    measured: list[dict[str, Any]],
    ways: Mapping[str, Way],
    steps: Mapping[str, TrainingStep],
    *,
    rounds: int,
    device: str,
) -> None:
    """Add the timed figures to the rows."""
    timed = time_interleaved(steps, rounds=rounds, device=device)
    for row in measured:
        seconds = timed[row['method']]
        row['step_ratio_to_full'] = round(seconds.pop('step_ratio'), 4)
        row |= {key: round(value, 5) for key, value in seconds.items()}
        tuned = ways[row['method']].model
        watch = watch_seconds(tuned, rounds=max(rounds, 5), device=device)
        row['watch_percent'] = round(100 * watch / seconds['step_s'], 3)


def _with_penalty(loss: Loss, made: Way) -> Loss:
    """The loss with what the method adds to it."""
    tuning = made.tuning
    if tuning is None or not tuning.has_penalty:
        return loss
    return lambda model: loss(model) + tuning.penalty()


def _counted(step: TrainingStep, made: Way) -> dict[str, Any]:
    counts = count(step)
    return {
        'forward_gflop': round(counts.forward_gflop, 2),
        'backward_gflop': round(counts.backward_gflop, 2),
        'saved_mib': round(counts.saved_bytes / MIB, 2),
        'gradient_bytes': counts.gradient_bytes,
        'optimizer_bytes': counts.optimizer_bytes,
        'trainable': made.trainable,
        'delta_bytes': made.delta_bytes(),
    }


def _built(subject: Subject, size: int, *, real: bool) -> nn.Module:
    if real:
        return pretrained_vit_tiny()
    torch.manual_seed(SEED)
    return subject.build(size)
