"""A sheet of predictions to judge a run by: one image a row, before and after training."""

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gps_seg.visualization.overlay import PREDICTION, TRUTH, Image, Mask, overlay_image

Row: TypeAlias = tuple[Image, Mask, Mask | None, Mask]

_TITLES = ('Image', 'Ground truth', 'Before', 'After')

# Lengths in inches.
_PANEL = 2.2
_TALLEST = 1.3 * _PANEL
_GAP = 0.06
_CAPTION = 0.3
_TITLE = 0.36
_LEGEND = 0.32
_MARGIN = 0.12

_PIXELS = 640  # what a panel is drawn at, so that lines are equally thick on images of any size
_INK = '#222222'
_PALE = '#666666'


def overlay_sheet(
    rows: Sequence[Row], titles: Sequence[str] = _TITLES, *, names: Sequence[str] = ()
) -> Figure:
    """Draw image, ground truth, prediction before and prediction after, one image a row.

    rows: (image, truth, before, after) each; image HWC uint8, RGB; the masks (H, W), non-zero is
    foreground; before may be None. titles: of the four columns. names: a caption for each image.
    The predictions' captions give their Dice in percent, taken at the masks' own resolution.
    """
    _check(rows, titles, names)
    heights = [min(_PANEL * row[0].shape[0] / row[0].shape[1], _TALLEST) for row in rows]
    width = 2 * _MARGIN + 4 * _PANEL + 3 * _GAP
    height = 2 * _MARGIN + _TITLE + sum(heights) + len(rows) * _CAPTION + _LEGEND
    figure = Figure(figsize=(width, height), facecolor='white')
    top = height - _MARGIN - _TITLE
    for column, title in enumerate(titles):
        centre = (_left(column) + _PANEL / 2) / width
        base = (top + 0.09) / height
        text = figure.text(centre, base, title, ha='center', va='bottom', color=_INK)
        text.set(fontsize=11, fontweight='bold')
    for index, row in enumerate(rows):
        name = names[index] if names else ''
        top -= heights[index]
        _draw_row(figure, row, name, bottom=top, panel_height=heights[index])
        top -= _CAPTION
    _draw_legend(figure)
    return figure


def _check(rows: Sequence[Row], titles: Sequence[str], names: Sequence[str]) -> None:
    if not rows:
        raise ValueError('no rows to draw; give at least one (image, truth, before, after)')
    if len(titles) != 4:
        raise ValueError(f'{len(titles)} titles for 4 columns')
    if names and len(names) != len(rows):
        raise ValueError(f'{len(names)} names for {len(rows)} rows')
    for index, (image, *masks) in enumerate(rows):
        for mask in masks:
            if mask is not None and mask.shape != image.shape[:2]:
                raise ValueError(
                    f'row {index}: a mask of {mask.shape} for an image of {image.shape[:2]}'
                )


def _left(column: int) -> float:
    return _MARGIN + column * (_PANEL + _GAP)


def _draw_row(figure: Figure, row: Row, name: str, *, bottom: float, panel_height: float) -> None:
    """Draw the four panels of one image; bottom and panel_height in inches."""
    image, truth, before, after = row
    small, small_truth = _resize(image), _resize_mask(truth)
    panels = [(small, _shorten(name)), (overlay_image(small, truth=small_truth), _area(truth))]
    for prediction in (before, after):
        if prediction is None:
            panels.append((np.full_like(small, 240), 'not recorded'))
        else:
            drawn = overlay_image(small, small_truth, _resize_mask(prediction))
            panels.append((drawn, _dice(truth, prediction)))
    width, height = figure.get_size_inches()
    for column, (picture, caption) in enumerate(panels):
        box = (_left(column) / width, bottom / height, _PANEL / width, panel_height / height)
        axes = figure.add_axes(box)
        axes.set_axis_off()
        axes.imshow(picture, interpolation='antialiased')
        centre = (_left(column) + _PANEL / 2) / width
        shade = _INK if caption.startswith('Dice') else _PALE
        below = (bottom - 0.05) / height
        figure.text(centre, below, caption, fontsize=9, color=shade, ha='center', va='top')


def _draw_legend(figure: Figure) -> None:
    colours = {'ground truth': TRUTH, 'prediction': PREDICTION}
    patches = [
        Patch(facecolor=(r / 255, g / 255, b / 255), edgecolor=_INK, linewidth=0.6, label=name)
        for name, (r, g, b) in colours.items()
    ]
    figure.legend(
        handles=patches,
        loc='lower center',
        bbox_to_anchor=(0.5, _MARGIN / figure.get_size_inches()[1]),
        ncols=2,
        frameon=False,
        fontsize=9,
        labelcolor=_INK,
        borderaxespad=0,
    )


def _target(shape: tuple[int, ...]) -> tuple[int, int]:
    """Width and height in pixels to draw an image of a shape at."""
    scale = min(_PIXELS / shape[1], _PIXELS * _TALLEST / _PANEL / shape[0])
    return max(1, round(scale * shape[1])), max(1, round(scale * shape[0]))


def _resize(image: Image) -> Image:
    target = _target(image.shape)
    interpolation = cv2.INTER_AREA if target[0] < image.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, target, interpolation=interpolation))


def _resize_mask(mask: Mask) -> Mask:
    """Resize with a smooth edge: nearest pixels would show as stairs on small images."""
    soft = mask.astype(bool).astype(np.float32)
    return cv2.resize(soft, _target(mask.shape), interpolation=cv2.INTER_LINEAR) > 0.5


def _area(truth: Mask) -> str:
    return f'{100 * np.mean(truth.astype(bool)):.1f} % of the image'


def _dice(truth: Mask, predicted: Mask) -> str:
    """Dice of two masks as a caption; two empty ones agree."""
    first, second = truth.astype(bool), predicted.astype(bool)
    area = first.sum() + second.sum()
    return f'Dice {100 * (2 * (first & second).sum() / area if area else 1.0):.1f} %'


def _shorten(name: str, limit: int = 30) -> str:
    return name if len(name) <= limit else f'{name[: limit - 12]}…{name[-11:]}'
