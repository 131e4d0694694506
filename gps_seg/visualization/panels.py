"""The pictures of an image on a sheet, each with what stands under it."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np

from gps_seg.visualization.overlay import Image, Mask, overlay_image, overlay_labels
from gps_seg.visualization.palette import Colour

# Image, truth, and predictions, such as the one before and the one after training.
Row: TypeAlias = Sequence[Any]

PIXELS = 640  # width of a panel, so that lines are equally thick on images of any size
TALLEST = 1.3  # of a panel, in its widths
NOT_RECORDED = 'not recorded'
_LINE = 46  # characters of a caption's line
_MOST_CLASSES = 8  # that a caption lists


@dataclass(frozen=True)
class Panel:
    """A picture, HWC uint8, RGB, and the lines under it."""

    picture: Image
    caption: tuple[str, ...]


@dataclass(frozen=True)
class ClassLook:
    """The classes of a sheet. background: the one that is not drawn; None to draw all."""

    names: Sequence[str]
    colours: Sequence[Colour]
    background: int | None = 0


def foreground_panels(row: Row, name: str) -> list[Panel]:
    """Truth and predictions of one foreground class, any non-zero value."""
    image, truth, *predictions = row
    small, small_truth = _resize(image), _resize_mask(truth)
    panels = [
        Panel(small, (shorten(name),)),
        Panel(
            overlay_image(small, truth=small_truth),
            (f'{100 * np.mean(truth.astype(bool)):.1f} % of the image',),
        ),
    ]
    for prediction in predictions:
        if prediction is None:
            panels.append(_missing(small))
            continue
        drawn = overlay_image(small, small_truth, _resize_mask(prediction))
        dice = _dice(truth.astype(bool), prediction.astype(bool))
        panels.append(Panel(drawn, (f'Dice {100 * (1.0 if dice is None else dice):.1f} %',)))
    return panels


def class_panels(row: Row, name: str, look: ClassLook) -> list[Panel]:
    """Truth and predictions as maps of classes, each class in its colour."""
    image, truth, *predictions = row
    small = _resize(image)
    areas = {label: float(np.mean(truth == label)) for label in _drawn(look, truth)}
    listed = _listed({look.names[n]: f'{100 * area:.1f} %' for n, area in areas.items()})
    panels = [
        Panel(small, (shorten(name),)),
        Panel(_labelled(small, truth, look), listed or ('none of the classes',)),
    ]
    for prediction in predictions:
        if prediction is None:
            panels.append(_missing(small))
            continue
        dice = class_dice(truth, prediction, look)
        mean = 100 * float(np.mean(list(dice.values()))) if dice else 100.0
        each = _listed({look.names[n]: f'{100 * value:.0f}' for n, value in dice.items()})
        panels.append(Panel(_labelled(small, prediction, look), (f'Dice {mean:.1f} %', *each)))
    return panels


def class_dice(truth: Mask, prediction: Mask, look: ClassLook) -> dict[int, float]:
    """The Dice, in [0, 1], of each drawn class that one of the two has; ignored pixels left out."""
    counted = truth < len(look.names)
    truth, prediction = truth[counted], prediction[counted]
    labels = sorted({*_drawn(look, truth), *_drawn(look, prediction)})
    found = {label: _dice(truth == label, prediction == label) for label in labels}
    return {label: dice for label, dice in found.items() if dice is not None}


def labels_of(rows: Sequence[Row], look: ClassLook) -> list[int]:
    """The classes that are drawn somewhere on a sheet, for its legend."""
    masks = [mask for row in rows for mask in row[1:] if mask is not None]
    return sorted({label for mask in masks for label in _drawn(look, mask)})


def shorten(name: str, limit: int = 30) -> str:
    """A name with its end kept, such as a number."""
    return name if len(name) <= limit else f'{name[: limit - 12]}…{name[-11:]}'


def _drawn(look: ClassLook, labels: Mask) -> list[int]:
    present = np.unique(labels).tolist()
    return [n for n in present if 0 <= n < len(look.names) and n != look.background]


def _listed(values: dict[str, str]) -> tuple[str, ...]:
    """Names with their values, in as many lines as they take."""
    items = [
        f'{shorten(name, 18)} {value}'.replace(' ', '\N{NO-BREAK SPACE}')
        for name, value in values.items()
    ]
    if len(items) > _MOST_CLASSES:
        items = [*items[:_MOST_CLASSES], f'and {len(items) - _MOST_CLASSES} more']
    return tuple(textwrap.wrap(', '.join(items), _LINE))


def _missing(small: Image) -> Panel:
    return Panel(np.full_like(small, 240), (NOT_RECORDED,))


def _labelled(small: Image, labels: Mask, look: ClassLook) -> Image:
    height, width = small.shape[:2]
    # The class that covers most of a pixel: nearest pixels would show as stairs on small images.
    best, drawn = np.zeros((height, width), np.float32), np.full((height, width), -1, np.int64)
    for label in np.unique(labels).tolist():
        soft = (labels == label).astype(np.float32)
        covered = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
        drawn = np.where(covered > best, label, drawn)
        best = np.maximum(best, covered)
    return overlay_labels(small, drawn, look.colours, background=look.background)


def _dice(first: Mask, second: Mask) -> float | None:
    """Dice of two bool masks in [0, 1]; None where both are empty."""
    area = first.sum() + second.sum()
    return float(2 * (first & second).sum() / area) if area else None


def _target(shape: tuple[int, ...]) -> tuple[int, int]:
    """Width and height in pixels to draw an image of a shape at."""
    scale = min(PIXELS / shape[1], PIXELS * TALLEST / shape[0])
    return max(1, round(scale * shape[1])), max(1, round(scale * shape[0]))


def _resize(image: Image) -> Image:
    target = _target(image.shape)
    interpolation = cv2.INTER_AREA if target[0] < image.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, target, interpolation=interpolation))


def _resize_mask(mask: Mask) -> Mask:
    """Resize with a smooth edge: nearest pixels would show as stairs on small images."""
    soft = mask.astype(bool).astype(np.float32)
    return cv2.resize(soft, _target(mask.shape), interpolation=cv2.INTER_LINEAR) > 0.5
