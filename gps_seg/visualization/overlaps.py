"""Pairwise overlap of selections, as a matrix of shades and numbers."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

_INK = '#222222'


def overlap_figure(
    names: Sequence[str], overlaps: Sequence[Sequence[float]], *, title: str = 'Shared entries'
) -> Figure:
    """The Jaccard index of each pair: entries that both select, of those that either selects.

    overlaps: (N, N), in [0, 1], in the order of the names. The diagonal is blank. Raises ValueError
    for fewer than two names, and for a matrix of another size.
    """
    values = np.array(overlaps, dtype=float)
    if len(names) < 2 or values.shape != (len(names), len(names)):
        raise ValueError(f'{len(names)} names for overlaps of the shape {values.shape}')
    shown = 100 * values
    np.fill_diagonal(shown, np.nan)
    side = 1.6 + 0.75 * len(names)
    figure = Figure(figsize=(side + 1.0, side), facecolor='white', layout='constrained')
    axes = figure.add_subplot()
    picture = axes.imshow(shown, cmap='Blues', vmin=0, vmax=100)
    for row, column in np.argwhere(~np.isnan(shown)):
        value = shown[row, column]
        colour = 'white' if value > 60 else _INK
        axes.text(column, row, f'{value:.0f}', ha='center', va='center', color=colour, fontsize=9)
    axes.set_xticks(range(len(names)), names, rotation=45, ha='right', rotation_mode='anchor')
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelsize=8, length=0)
    axes.set_title(title, fontsize=11, fontweight='bold', color=_INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(picture, ax=axes, shrink=0.8)
    bar.set_label('Jaccard index (%)', fontsize=9, color=_INK)
    bar.ax.tick_params(labelsize=8)
    return figure
