"""What choosing the entries costs, against one training step of the same images.

    GPS_SEG_DATA=... python tools/benchmarks/selection_cost.py --batch 32

ViT-Tiny/16 with its real weights and real images where GPS_SEG_DATA has them. `peak` is the largest
sum of live tensor bytes above what lived before (profiler on the CPU, allocator on CUDA), with the
scores that a criterion returns; `time` is a median, interleaved in one process.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gps_seg.cli.errors import one_line_errors
from gps_seg.files import write_content
from gps_seg.methods import describe
from gps_seg.selection import CRITERIA, Scores, score
from tools.benchmarks.machine import machine
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


def measure(batch: int, rounds: int, device: str) -> tuple[list[dict[str, Any]], str]:
    """One row for each pass."""
    model, images, source = subject(batch, device)
    calls = passes(model, images)
    for call in calls.values():  # warm up before memory is looked at
        call()
    peaks = {name: peak_bytes(call, device) for name, call in calls.items()}
    seconds = time_calls(calls, rounds=rounds, device=device)
    rows = [
        {
            'pass': name,
            'peak_mib': round(peaks[name] / MIB, 2),
            'peak_ratio_to_step': round(peaks[name] / peaks[STEP], 4),
            'seconds': round(seconds[name], 4),
            'time_ratio_to_step': round(seconds[name] / seconds[STEP], 4),
        }
        for name in calls
    ]
    return rows, source


def report(batch: int, rounds: int, device: str, json_path: Path | None) -> None:
    """Measure, print a table, and write the rows where a path is given."""
    console = Console(width=120)
    console.print(' · '.join(f'{key} {value}' for key, value in machine(device).items()))
    rows, source = measure(batch, rounds, device)
    table = Table(title=f'Selection on ViT-Tiny/16, {batch} images: {source}')
    for title in ('pass', 'peak MiB', 'peak / step', 'seconds', 'time / step'):
        table.add_column(title, justify='left' if title == 'pass' else 'right')
    for row in rows:
        table.add_row(*(f'{value}' for value in row.values()))
    console.print(table)
    if json_path:
        write_content(json_path, json.dumps(rows, indent=1) + '\n')


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--batch', type=int, default=32, help='images (default: 32)')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--json', type=Path, help='also write the rows there')
    options = parser.parse_args(argv)
    report(options.batch, options.rounds, options.device, options.json)
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
