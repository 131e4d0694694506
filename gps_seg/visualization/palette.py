"""Colours of classes: those of the data set, or made ones that colour-blind readers can tell."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import cv2
import numpy as np

Colour: TypeAlias = tuple[int, int, int]

BACKGROUND: Colour = (0, 0, 0)
# Okabe and Ito's palette without its black, the first colours of every made palette.
OKABE_ITO: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
# How red-blind and green-blind readers see linear RGB (Machado et al. 2009, severity 1).
_PROTAN = (
    (0.152286, 1.052583, -0.204868),
    (0.114503, 0.786281, 0.099216),
    (-0.003882, -0.048116, 1.051998),
)
_DEUTAN = (
    (0.367322, 0.860646, -0.227968),
    (0.280085, 0.672501, 0.047413),
    (-0.01182, 0.04294, 0.968881),
)
_LEVELS = 12  # of each channel, among which further colours are searched
_LIGHTNESS = (30, 92)  # of a hundred: darker and paler ones are lost on an image


def class_colours(num: int, palette: Sequence[Sequence[int]] | None = None) -> list[Colour]:
    """A colour, RGB in 0..255, for each of `num` classes.

    palette: the data set's own. Without one, or where it has another length, black for class 0 and
    for the others Okabe and Ito's colours; further ones are as far as possible from all before
    them, for readers with usual, red-blind and green-blind sight alike.
    """
    if palette is not None and len(palette) == num:
        return [(int(red), int(green), int(blue)) for red, green, blue in palette]
    return [BACKGROUND, *_made(max(num - 1, len(OKABE_ITO)))][:num]


@lru_cache(maxsize=8)
def _made(num: int) -> tuple[Colour, ...]:
    levels = np.linspace(0, 255, _LEVELS).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    light = _lab(candidates)[:, 0]
    candidates = candidates[(light > _LIGHTNESS[0]) & (light < _LIGHTNESS[1])]
    chosen: list[Any] = [np.array(colour, float) for colour in OKABE_ITO]
    seen = _as_seen(candidates)
    nearest = np.full(len(candidates), np.inf)
    for index in range(num):
        if index == len(chosen):
            chosen.append(candidates[nearest.argmax()])
        distances = np.linalg.norm(seen - _as_seen(chosen[index][None]), axis=2).min(0)
        nearest = np.minimum(nearest, distances)
    return tuple((int(red), int(green), int(blue)) for red, green, blue in chosen[:num])


def _as_seen(colours: np.ndarray) -> np.ndarray:
    """Colours (N, 3) in CIE Lab, as three kinds of readers see them: (3, N, 3)."""
    linear = (colours / 255) ** 2.2
    kinds = [np.eye(3), np.array(_PROTAN), np.array(_DEUTAN)]
    return np.stack([_lab(255 * np.clip(linear @ kind.T, 0, 1) ** (1 / 2.2)) for kind in kinds])


def _lab(colours: np.ndarray) -> np.ndarray:
    pixels = (colours / 255).astype(np.float32)[None]
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0])
