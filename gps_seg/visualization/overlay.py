"""Masks drawn over an image."""

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from gps_seg.visualization.palette import Colour

Image: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_] | NDArray[np.integer]

# Two colours of Okabe and Ito's palette: colour-blind readers can tell them apart, and both stand
# out against the reds of tissue and against grey.
TRUTH = (86, 180, 233)
PREDICTION = (240, 228, 66)
_EDGE = (25, 25, 25)  # under every line, so that it shows on bright ground as well

_OPACITY = 0.4


def overlay_image(image: Image, truth: Mask | None = None, prediction: Mask | None = None) -> Image:
    """Draw a ground truth and a prediction over an image; returns a new one.

    image: HWC uint8, RGB, in [0, 255]. truth, prediction: (H, W), non-zero is foreground.
    The prediction is filled in yellow, with the ground truth as a blue line over it; alone, the
    ground truth is filled in blue.
    """
    _check(image, truth, prediction)
    width = max(1, round(max(image.shape[:2]) / 320))
    filled = _fill(image, truth, TRUTH) if prediction is None else image
    filled = _fill(filled, prediction, PREDICTION)
    # All edges first: where both outlines coincide, the blue line lies within the yellow one.
    lines = ((prediction, 2 * width + 2, PREDICTION), (truth, width, TRUTH))
    drawn = filled.copy()
    for mask, thickness, _ in lines:
        _outline(drawn, mask, _EDGE, thickness + max(2, width))
    for mask, thickness, colour in lines:
        _outline(drawn, mask, colour, thickness)
    return drawn


def overlay_labels(
    image: Image,
    labels: Mask,
    colours: Sequence[Colour],
    *,
    background: int | None = 0,
) -> Image:
    """Draw a map of classes over an image, each filled and outlined in its colour; a new image.

    image: HWC uint8, RGB, in [0, 255]. labels: (H, W), class indices; what is no index of `colours`
    (255, for pixels of no class) is left clear, and so is `background`, if one is given.
    """
    _check(image, labels)
    present = [label for label in np.unique(labels).tolist() if 0 <= label < len(colours)]
    shown = [label for label in present if label != background]
    width = max(1, round(max(image.shape[:2]) / 320))
    drawn = image.copy()
    for label in shown:
        drawn = _fill(drawn, labels == label, colours[label])
    for label in shown:
        _outline(drawn, labels == label, _EDGE, 2 * width + 2)
    for label in shown:
        _outline(drawn, labels == label, colours[label], width + 1)
    return drawn


def _check(image: Image, *masks: Mask | None) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f'an image of {image.shape} {image.dtype}; expected (H, W, 3) uint8, RGB')
    for mask in masks:
        if mask is not None and mask.shape != image.shape[:2]:
            raise ValueError(
                f'a mask of {mask.shape} over an image of {image.shape[:2]}; resize one of them'
            )


def _fill(image: Image, mask: Mask | None, colour: Colour) -> Image:
    if mask is None:
        return image
    blend = (1 - _OPACITY) * image + _OPACITY * np.array(colour)
    return np.where(mask.astype(bool)[..., None], blend.round().astype(np.uint8), image)


def _outline(drawn: Image, mask: Mask | None, colour: Colour, width: int) -> None:
    """Draw the edge of a mask, its holes included, into `drawn`."""
    if mask is not None:
        inside = mask.astype(bool).astype(np.uint8)
        # CCOMP finds the holes too; without approximation the line follows the mask.
        contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, contours, -1, colour, width, cv2.LINE_AA)
