"""What a training step costs with each method: operations, memory, time.

    python tools/benchmarks/cost.py --models vit_b16 --methods full,bias,gps,lora --json cost.json

Operations and bytes are counted; times are medians of steps interleaved in one process, and only
their ratio to full fine-tuning means something on another machine. watch: the part of a step that
keeps compact values and weights at one truth. Methods: full, linear, bias,
gps (K = 1), gps_k4, gps_k10, gps_dense (as published: dense gradients and a mask), lora; with the
extra `[peers]` also PEFT's peft_lora, shira and supertuning. `--selection` measures
what choosing the entries costs instead (also: selection_cost.py, 32 images by default).

ViT-Tiny's selection is real where GPS_SEG_DATA has its weights and images; every other model gets
a selection that touches as many of its input columns, layer by layer, as ViT-Tiny's real one.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gps_seg.cli.errors import one_line_errors
from gps_seg.files import write_content
from gps_seg.methods import describe
from gps_seg.selection import Budget, Selection, neuron
from tools.benchmarks import selection_cost
from tools.benchmarks.column_shares import (
    load_shares,
    selection_with_shares,
    vit_tiny_scores,
)
from tools.benchmarks.machine import machine
from tools.benchmarks.meters import MIB, TrainingStep, count, time_interleaved
from tools.benchmarks.real_images import has_real_data, pretrained_vit_tiny
from tools.benchmarks.subjects import SEED, SUBJECTS, Subject, subject_of
from tools.benchmarks.watch import watch_seconds
from tools.benchmarks.ways import Way, way

DEFAULT_METHODS = 'full,linear,bias,gps,gps_k4,gps_k10,gps_dense,lora'


class Selections:
    """The selection of each K for one model."""

    def __init__(self, name: str) -> None:
        self.real = has_real_data(name)
        self.source = 'real gradients' if self.real else 'column shares of ViT-Tiny'
        self._scores = vit_tiny_scores() if self.real else None

    def __call__(self, model: nn.Module, k: int) -> Selection:
        if self._scores is not None:
            return neuron(self._scores, Budget(k=k))
        return selection_with_shares(describe(model).backbone_weights(model), load_shares(k), k=k)


def measure(name: str, methods: Sequence[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per method, the counted columns first."""
    subject, device = subject_of(name), options.device
    size = options.size or subject.size
    loss = subject.loss(options.batch, size, device)
    selections = Selections(name)
    ways: dict[str, Way] = {}
    steps: dict[str, TrainingStep] = {}
    rows: list[dict[str, Any]] = []
    for method in methods:
        model = _built(subject, name, size, real=selections.real).to(device).train()
        ways[method] = way(method)(model, selections)
        steps[method] = TrainingStep(ways[method].model, ways[method].optimizer, loss)
        with torch.autocast(device, getattr(torch, options.amp or 'float32'), bool(options.amp)):
            counts = count(steps[method])
        rows.append(
            {
                'model': name,
                'method': method,
                'selection': selections.source if method.startswith('gps') else '',
                'forward_gflop': round(counts.forward_gflop, 2),
                'backward_gflop': round(counts.backward_gflop, 2),
                'saved_mib': round(counts.saved_bytes / MIB, 2),
                'gradient_bytes': counts.gradient_bytes,
                'optimizer_bytes': counts.optimizer_bytes,
                'trainable': ways[method].trainable,
                'delta_bytes': ways[method].delta_bytes(),
            }
        )
    if options.rounds:
        timed = time_interleaved(steps, rounds=options.rounds, device=device)
        for row in rows:
            seconds = timed[row['method']]
            full = seconds.pop('step_ratio')
            row['step_ratio_to_full'] = round(full, 4)
            row |= {key: round(value, 5) for key, value in seconds.items()}
            watch = watch_seconds(
                ways[row['method']].model, rounds=max(options.rounds, 5), device=device
            )
            row['watch_percent'] = round(100 * watch / seconds['step_s'], 3)
    return rows


def _built(subject: Subject, name: str, size: int, *, real: bool) -> nn.Module:
    if real:
        return pretrained_vit_tiny()
    torch.manual_seed(SEED)
    return subject.build(size)


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the rows as a table."""
    table = Table(title=f'One training step of {rows[0]["model"]}')
    columns = {
        'method': 'method',
        'backward_gflop': 'backward\nGFLOP',
        'saved_mib': 'saved for\nbackward MiB',
        'gradient_bytes': 'gradient\nbytes',
        'optimizer_bytes': 'optimizer\nbytes',
        'trainable': 'trainable',
        'delta_bytes': 'delta\nbytes',
        'forward_s': 'forward s',
        'backward_s': 'backward s',
        'update_s': 'update s',
        'step_ratio_to_full': 'step\n/ full',
        'watch_percent': 'watch\n% of step',
    }
    shown = {key: title for key, title in columns.items() if key in rows[0]}
    for key, title in shown.items():
        table.add_column(title, justify='left' if key == 'method' else 'right')
    for row in rows:
        table.add_row(*(_cell(row[key]) for key in shown))
    console.print(table)
    sources = {row['selection'] for row in rows} - {''}
    if sources:
        console.print(f'Selections: {", ".join(sources)}')


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f'{value:,}'
    return f'{value:.3f}' if isinstance(value, float) and value < 10 else f'{value}'


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument('--models', default='vit_b16', help=f'{", ".join(SUBJECTS)}, or of timm')
    parser.add_argument('--methods', default=DEFAULT_METHODS)
    parser.add_argument('--batch', type=int, default=4, help='images (default: 4)')
    parser.add_argument('--size', type=int, help="side in pixels (default: the model's own)")
    parser.add_argument(
        '--rounds', type=int, default=7, help='timed steps of each method; 0: only count'
    )
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument(
        '--selection', action='store_true', help='measure selecting instead of training'
    )
    parser.add_argument('--amp', choices=['bfloat16', 'float16'], help='mixed precision')
    parser.add_argument('--json', type=Path, help='also write the rows there')
    arguments = parser.parse_args(argv)
    arguments.models = arguments.models.split(',')
    arguments.methods = arguments.methods.split(',')
    return arguments


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    options = parse_arguments(argv)
    if options.selection:
        selection_cost.report(options.batch, options.rounds, options.device, options.json)
        return 0
    console = Console(width=140)
    console.print(' · '.join(f'{key} {value}' for key, value in machine(options.device).items()))
    rows: list[dict[str, Any]] = []
    for name in options.models:  # an unknown name should not end hours of measuring
        subject_of(name)
    for name in options.models:
        measured = measure(name, options.methods, options)
        show(measured, console)
        rows += measured
        if options.json:
            write_content(options.json, json.dumps(rows, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
