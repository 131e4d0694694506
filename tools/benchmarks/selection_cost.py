"""What choosing the entries costs, against one training step of the same images.

    GPS_SEG_DATA=... gps-seg bench run selection-cost

ViT-Tiny/16 with its real weights and real images where GPS_SEG_DATA has them. `peak` is the largest
sum of live tensor bytes above what lived before (profiler on the CPU, allocator on CUDA), with the
scores that a criterion returns; `time` is a median, interleaved in one process.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gps_seg.methods import describe
from gps_seg.selection import CRITERIA, Scores, score
from tools.benchmarks.meters import MIB, peak_bytes, time_calls
from tools.benchmarks.real_images import (
    Batch,
    contrastive_batches,
    has_real_data,
    pretrained_vit_tiny,
)
from tools.benchmarks.subjects import SUBJECTS

CHUNKS = 4
STEP = 'forward + backward'


def passes(model: Any, batch: Batch) -> dict[str, Callable[[], Any]]:
    """By name: a training step's two passes, and each criterion over the same images."""
    weights = describe(model).backbone_weights(model)

    def embed(micro_batch: Batch) -> tuple[Tensor, Tensor]:
        features = model.forward_features(micro_batch[0])
        return model.forward_head(features, pre_logits=True), micro_batch[1]

    def loss(micro_batch: Batch) -> Tensor:
        return F.cross_entropy(model(micro_batch[0]), micro_batch[1])

    def step() -> None:
        loss(batch).backward()
        model.zero_grad(set_to_none=True)

    def run(name: str, micro_batches: list[Batch]) -> Callable[[], Scores]:
        criterion: Any = CRITERIA[name]
        look = {'nothing': None, 'embed': embed, 'loss': loss}[criterion.needs]
        return lambda: score(model, criterion(weights, look), [micro_batches])

    chunks = list(zip(batch[0].chunk(CHUNKS), batch[1].chunk(CHUNKS), strict=True))
    calls: dict[str, Callable[[], Any]] = {STEP: step}
    calls |= {name: run(name, [batch]) for name in CRITERIA}
    calls[f'supcon_gradient in {CHUNKS} chunks'] = run('supcon_gradient', chunks)
    return calls


def subject(num: int, device: str) -> tuple[nn.Module, Batch, str]:
    """The model, `num` images with labels, and what they are."""
    if has_real_data('vit_tiny'):
        ((images, labels),) = next(contrastive_batches(num // 2, size=num // 2))
        model, source = pretrained_vit_tiny(), 'real weights and images'
    else:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(num, 3, 224, 224, generator=generator)
        labels = torch.arange(num) // 2
        model, source = SUBJECTS['vit_tiny'].build(224), 'random weights, noise for images'
    return model.to(device).eval(), (images.to(device), labels.to(device)), source


def rows(batch: int = 32, rounds: int = 5) -> list[dict[str, Any]]:
    """One row for each pass, the first of which is the step's own. batch: images."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    model, images, source = subject(batch, device)
    calls = passes(model, images)
    for call in calls.values():  # warm up before memory is looked at
        call()
    peaks = {name: peak_bytes(call, device) for name, call in calls.items()}
    seconds = time_calls(calls, rounds=rounds, device=device)
    return [
        {
            'method': name,
            'images': source,
            'peak_mib': round(peaks[name] / MIB, 2),
            'peak_ratio_to_step': round(peaks[name] / peaks[STEP], 4),
            'seconds': round(seconds[name], 4),
            'time_ratio_to_step': round(seconds[name] / seconds[STEP], 4),
        }
        for name in calls
    ]
