"""What a predictor says of one image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Prediction:
    """The classes of the pixels of one image, at the image's own size.

    mask: (H, W) uint8, the class of every pixel, 0 to C - 1.
    probabilities: (C, H, W) float32 in [0, 1], which add up to 1; C = 2 for a single foreground.
    classes: the C names.
    path: the file that the image was read from; None for an array.
    """

    mask: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    classes: tuple[str, ...]
    path: Path | None = None

    def __repr__(self) -> str:
        height, width = self.mask.shape
        found = [self.classes[index] for index in np.unique(self.mask)]
        name = f'{self.path}, ' if self.path is not None else ''
        return f'Prediction({name}{width} x {height} pixels: {", ".join(found)})'
