"""A sheet of classified images, each with its true and its predicted class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

RIGHT, WRONG = '#1b7837', '#b2182b'
_INK = '#222222'
_COLUMNS = 4
# Lengths in inches.
_PANEL = 2.2
_CAPTION = 0.62
_LONG = 30  # characters of a class's name


@dataclass(frozen=True, eq=False)
class Classified:
    """An image, (H, W, 3) uint8 RGB, its true and predicted class, and how sure the model is."""

    image: np.ndarray
    truth: str
    predicted: str
    probability: float

    @property
    def is_right(self) -> bool:
        """Whether the class is the true one."""
        return self.truth == self.predicted


def class_sheet(panels: Sequence[Classified], title: str) -> Figure:
    """Draw images in a grid, the first at the top left, with their classes below.

    A mistake says what it is and, in red, what it was taken for; what is right is green.
    """
    if not panels:
        raise ValueError('a sheet needs at least one image')
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    height = rows * (_PANEL + _CAPTION) + 0.4
    figure = Figure(figsize=(columns * _PANEL + 0.2, height), facecolor='white')
    figure.suptitle(title, fontsize=10, color=_INK, y=1 - 0.12 / height)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for place in axes[len(panels) :]:
        place.set_axis_off()
    for place, panel in zip(axes, panels, strict=False):
        place.imshow(panel.image)
        place.set_xticks([])
        place.set_yticks([])
        share = f'{100 * panel.probability:.0f} %'
        if panel.is_right:
            text = f'{_short(panel.truth)}\nright, {share}'
        else:
            text = f'{_short(panel.truth)}\nnot {_short(panel.predicted)}, {share}'
        colour = RIGHT if panel.is_right else WRONG
        place.set_xlabel(text, fontsize=8, color=colour)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.3 / height))
    return figure


def _short(name: str) -> str:
    return name if len(name) <= _LONG else f'{name[: _LONG - 1]}…'
