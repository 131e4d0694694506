"""Several scenes in one image, in which only a prompt tells the main objects apart."""

from collections.abc import Sequence

import cv2
import numpy as np


def four_scenes(
    images: Sequence[np.ndarray], masks: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Four scenes at half their size, two by two in one image of their size.

    images: four (S, S, 3) uint8, S even. masks: four (S, S) bool. Returns the image, and its
    objects as (S, S) uint8: 1 to 4 row by row, 0 for none.
    """
    size = len(images[0])
    half = size // 2
    image, objects = np.empty((size, size, 3), np.uint8), np.zeros((size, size), np.uint8)
    for number in range(4):
        rows, columns = (slice(half * n, half * (n + 1)) for n in divmod(number, 2))
        scene = np.ascontiguousarray(images[number])
        image[rows, columns] = cv2.resize(scene, (half, half), interpolation=cv2.INTER_AREA)
        objects[rows, columns] = masks[number][::2, ::2] * np.uint8(number + 1)
    return image, objects
