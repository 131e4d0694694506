"""Points of two coordinates, coloured by class: a panel for each model."""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

_INK = '#222222'


def embeddings_figure(
    panels: Mapping[str, NDArray[np.floating]],
    labels: NDArray[np.integer],
    *,
    notes: Mapping[str, str] | None = None,
    title: str = 't-SNE of the embeddings',
) -> Figure:
    """A scatter for each model, all points of a class in one colour throughout.

    panels: name -> (N, 2). labels: (N,), 0 or more. notes: a line below a name. Raises ValueError
    where a panel has another number of points than there are labels.
    """
    if not panels:
        raise ValueError('nothing to draw: there is no model')
    for name, points in panels.items():
        if points.shape != (len(labels), 2):
            raise ValueError(f'{name} has points of {points.shape} for {len(labels)} labels')
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure = Figure(
        figsize=(2.6 * columns, 0.4 + 2.9 * rows), facecolor='white', layout='constrained'
    )
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    colours = matplotlib.colormaps['turbo'](_spread(labels))
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes, (name, points) in zip(grid, panels.items(), strict=False):
        axes.scatter(*points.T, s=5, c=colours, linewidths=0)
        note = (notes or {}).get(name)
        axes.set_title(f'{name}\n{note}' if note else name, fontsize=9, color=_INK)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect('equal', adjustable='datalim')
        for spine in axes.spines.values():
            spine.set_color('#BBBBBB')
    figure.suptitle(title, fontsize=11, fontweight='bold', color=_INK)
    return figure


def _spread(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """A number in [0, 1] for each label; neighbouring labels lie far apart."""
    present, places = np.unique(labels, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(present))
    return order[places] / max(len(present) - 1, 1)
