"""Small folders of images and masks, drawn on the spot."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest


def write(path: Path, pixels: np.ndarray) -> Path:
    """Write an image file of the suffix's format, best quality."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def draw_pair(index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image with a bright disc, and the disc's 0/255 mask."""
    generator = np.random.default_rng(index)
    image = generator.integers(0, 120, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    centre = (width // 3 + index, height // 3)
    cv2.circle(mask, centre, min(height, width) // 5, 255, -1)
    image[mask > 0] += 100
    return image, mask


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes `count` pairs below tmp_path/own and returns that folder."""

    def make(count: int = 4, height: int = 40, width: int = 60, suffix: str = '.png') -> Path:
        root = tmp_path / 'own'
        for index in range(count):
            image, mask = draw_pair(index, height, width)
            write(root / 'images' / f'case{index}{suffix}', image)
            write(root / 'masks' / f'case{index}.png', mask)
        return root

    return make


@pytest.fixture
def write_image() -> Callable[[Path, np.ndarray], Path]:
    """The function that writes one image file."""
    return write
