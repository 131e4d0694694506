"""Training and test cost of the published methods, as Fig. 4 of GPS (arXiv:2312.10136) shows it.

    gps-seg bench run paper-cost

The figure, of an A100 at a batch of 32 without mixed precision and with 200 (shallow) and 50 (deep)
prompts, prints no numbers. The paper says that GPS takes less time and memory in training than VPT
and SSF, far less time than full fine-tuning at about its memory, and nothing more at test.

Times are medians interleaved in one process; only their ratios mean something on another machine.
Memory is counted: tensors kept for backward, gradients and optimizer state, in MiB, beside the
model. At test what can be merged is merged first, as the methods' authors do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from gps_seg.visualization import save_figure
from tools.benchmarks.cost import Selections
from tools.benchmarks.cost import rows as step_rows
from tools.benchmarks.meters import MIB, time_calls
from tools.benchmarks.subjects import subject_of
from tools.benchmarks.ways import way

PANELS = {
    'step_s': 'training step, s',
    'training_mib': 'kept in training, MiB',
    'test_s': 'test of a batch, s',
    'added': 'entries added at test, thousands',
}
COLOUR = '#2f80c8'


def rows(
    model: str,
    methods: Sequence[str],
    *,
    batch: int = 32,
    rounds: int = 5,
    out: Path | None = None,
) -> list[dict[str, Any]]:
    """A row for each method: time of a step and of a test, memory, and what is added at test.

    model: one of SUBJECTS, or any of timm. batch: images of 224 pixels. Leaves `cost.png` in `out`.
    """
    measured = step_rows(model, methods, batch=batch, rounds=rounds)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    images = subject_of(model).images(batch, subject_of(model).size, device)
    tested, added = {}, {}
    selections = Selections(model)
    for method in methods:
        built = subject_of(model).build(subject_of(model).size).to(device)
        stock = sum(parameter.numel() for parameter in built.parameters())
        tuned = _merged(way(method)(built, selections)).eval()
        added[method] = sum(parameter.numel() for parameter in tuned.parameters()) - stock
        tested[method] = tuned
    seconds = _test_seconds(tested, images, rounds=rounds, device=device)
    chosen = []
    for row in measured:
        method = row['method']
        held = row['gradient_bytes'] + row['optimizer_bytes']
        chosen.append(
            {
                'method': method,
                'step_s': row['step_s'],
                'step_ratio_to_full': row['step_ratio_to_full'],
                'saved_mib': row['saved_mib'],
                'training_mib': round(row['saved_mib'] + held / MIB, 1),
                'test_s': round(seconds[method], 4),
                'added': round(added[method] / 1000, 1),
                'trainable': row['trainable'],
            }
        )
    if out is not None:
        save_figure(_figure(chosen, f'{model}, batch {batch}, {device}'), Path(out) / 'cost.png')
    return chosen


def _merged(made: Any) -> Any:
    """The model at test: stock layers again where the method can give them."""
    if made.tuning is None:
        return made.model
    if not made.tuning.plan.added:
        return made.tuning.remove()
    try:
        return made.tuning.merge()
    except ValueError:  # adapters and prompts cannot be merged: they stay
        return made.model


def _test_seconds(
    models: dict[str, Any], images: torch.Tensor, *, rounds: int, device: str
) -> dict[str, float]:
    def call(model: Any) -> Any:
        def run() -> None:
            with torch.no_grad():
                model(images)

        return run

    calls = {name: call(model) for name, model in models.items()}
    return time_calls(calls, rounds=rounds, device=device)


def _figure(measured: Sequence[dict[str, Any]], title: str) -> Figure:
    figure = Figure(
        figsize=(2.7 * len(PANELS), 0.9 + 0.3 * len(measured)),
        facecolor='white',
        layout='constrained',
    )
    panels = figure.subplots(1, len(PANELS), sharey=True)
    names = [row['method'] for row in measured]
    for axes, (quantity, label) in zip(panels, PANELS.items(), strict=True):
        axes.barh(names, [row[quantity] for row in measured], color=COLOUR)
        axes.set_xlabel(label, fontsize=9)
        axes.tick_params(labelsize=8)
        for side in ('top', 'right'):
            axes.spines[side].set_visible(False)
    panels[0].invert_yaxis()
    figure.suptitle(title, fontsize=11, fontweight='bold')
    return figure
