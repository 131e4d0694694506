"""The sizes, numbers and confidences of what was found, and their table."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

HEADER = ('image', 'class', 'area', 'percent', 'objects', 'mean_confidence', 'error')


@dataclass(frozen=True)
class Measures:
    """Of each class: pixels (or voxels), and the sum of the probabilities that it has there."""

    area: NDArray[np.int64]
    confidence: NDArray[np.float64]

    @classmethod
    def of(cls, mask: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> 'Measures':
        """mask: (H, W). probabilities: (C, H, W)."""
        num = len(probabilities)
        chosen = np.take_along_axis(probabilities, mask[None].astype(np.int64), axis=0)
        flat = mask.ravel()
        return cls(
            np.bincount(flat, minlength=num).astype(np.int64),
            np.bincount(flat, weights=chosen.ravel(), minlength=num).astype(np.float64),
        )

    def __add__(self, other: 'Measures') -> 'Measures':
        return Measures(self.area + other.area, self.confidence + other.confidence)


def count_objects(mask: NDArray[np.uint8], index: int) -> int:
    """Connected parts of a class in a mask of any dimension; corners connect."""
    inside = (mask == index).astype(np.uint8)
    if mask.ndim == 2:  # several times faster than SciPy
        return int(cv2.connectedComponents(inside, connectivity=8)[0]) - 1
    return int(ndimage.label(inside, structure=np.ones((3,) * mask.ndim, dtype=bool))[1])


def rows_of(
    image: str, mask: NDArray[np.uint8], measures: Measures, classes: Sequence[str]
) -> list[tuple[str, ...]]:
    """The lines of one image in the table, one a class."""
    rows: list[tuple[str, ...]] = []
    for index, name in enumerate(classes):
        area = int(measures.area[index])
        objects = count_objects(mask, index) if area else 0
        confidence = f'{measures.confidence[index] / area:.4f}' if area else ''
        percent = f'{100 * area / mask.size:.4f}'
        rows.append((image, name, str(area), percent, str(objects), confidence, ''))
    return rows


def failed_row(image: str, error: str) -> tuple[str, ...]:
    """The line of an image that could not be read."""
    return (image, '', '', '', '', '', error)


def table_text(rows: Iterable[Sequence[str]], header: Sequence[str] = HEADER) -> str:
    """CSV with a header."""
    text = io.StringIO(newline='')
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
