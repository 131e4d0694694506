"""The demo's data set on disk: an ordinary folder of images, masks and split lists."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gps_seg.datasets.procedural.polyps import draw_polyp

# Raised whenever draw_polyp draws the same numbers differently.
DRAWING = 1
IMAGE_SIZE = 256
NUM_IMAGES: Mapping[str, int] = {'train': 208, 'val': 24, 'test': 60}
ABOUT = 'about.json'


def describe(num_images: Mapping[str, int], seed: int) -> dict[str, Any]:
    """What decides every byte of the folder."""
    return dict(drawing=DRAWING, image_size=IMAGE_SIZE, num_images=dict(num_images), seed=int(seed))


def is_complete(folder: str | Path, num_images: Mapping[str, int], seed: int) -> bool:
    """Whether `folder` holds exactly this data set, with every listed image and mask."""
    folder = Path(folder)
    try:
        about = json.loads((folder / ABOUT).read_text(encoding='utf-8'))
        stems = [
            stem
            for split in num_images
            for stem in (folder / f'{split}.txt').read_text(encoding='utf-8').split()
        ]
    except (OSError, ValueError):
        return False
    files = (path for s in stems for path in (f'images/{s}.jpg', f'masks/{s}.png'))
    return (
        about == describe(num_images, seed)
        and len(stems) == sum(num_images.values())
        and all((folder / path).is_file() for path in files)
    )


def write_pair(folder: Path, stem: str, rng: np.random.Generator) -> None:
    """Draw one polyp into `images/STEM.jpg` and `masks/STEM.png` (0 and 255)."""
    image, mask = draw_polyp(rng, IMAGE_SIZE)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
    for path, pixels, options in (
        (folder / 'images' / f'{stem}.jpg', image[..., ::-1], quality),
        (folder / 'masks' / f'{stem}.png', mask.astype(np.uint8) * 255, []),
    ):
        _, content = cv2.imencode(path.suffix, pixels, options)
        path.write_bytes(content.tobytes())


def write_polyps(
    folder: str | Path, num_images: Mapping[str, int] = NUM_IMAGES, seed: int = 0
) -> bool:
    """Write drawn polyps as `images/`, `masks/` and one list of stems per split, if not there.

    num_images: how many of each split, such as `{'train': 208, 'val': 24, 'test': 60}`. The files
    depend on it and on `seed` alone. They are drawn beside `folder`, which appears by one rename,
    so that it is never half filled. Returns whether it was written, False where it was there.

    Raises ValueError where `folder` holds anything else.
    """
    folder = Path(folder)
    if is_complete(folder, num_images, seed):
        return False
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f'{folder} is there, but is not this drawn data set (another version or number of '
            'images, or files are missing); move or remove it, and it is drawn again'
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f'.{folder.name}.'))
    try:
        fill(building, num_images, seed)
        building.chmod(0o755)  # mkdtemp makes folders private
        try:
            building.replace(folder)
        except OSError:
            # Another process may have finished the same folder in the meantime.
            if not is_complete(folder, num_images, seed):
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return True


def fill(folder: Path, num_images: Mapping[str, int], seed: int) -> None:
    """Draw the images, masks and lists into an empty folder."""
    for name in ('images', 'masks'):
        (folder / name).mkdir()
    first = 0
    for split, count in num_images.items():
        indices = range(first, first + count)
        first += count
        for index in indices:
            write_pair(folder, f'polyp_{index:04d}', np.random.default_rng([seed, index]))
        lines = ''.join(f'polyp_{index:04d}\n' for index in indices)
        (folder / f'{split}.txt').write_text(lines, encoding='utf-8')
    about = json.dumps(describe(num_images, seed), indent=2)
    (folder / ABOUT).write_text(f'{about}\n', encoding='utf-8')
