"""Drawn data sets on disk: ordinary folders of images, masks and split lists."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gps_seg.datasets.procedural.objects import draw_objects
from gps_seg.datasets.procedural.polyps import draw_polyp

# Raised whenever one of the subjects draws the same numbers differently.
DRAWING = 1
IMAGE_SIZE = 256


@dataclass(frozen=True)
class Subject:
    """What is drawn, where below the data root its folder lies by default, and how many images."""

    draw: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
    stem: str
    folder: str
    num_images: Mapping[str, int]


SUBJECTS: Mapping[str, Subject] = {
    'polyps': Subject(draw_polyp, 'polyp', 'demo-polyps', dict(train=208, val=24, test=60)),
    'objects': Subject(draw_objects, 'object', 'drawn-objects', dict(train=2000, val=80, test=80)),
}
ABOUT = 'about.json'


def describe(num_images: Mapping[str, int], seed: int, subject: str) -> dict[str, Any]:
    """What decides every byte of the folder."""
    return dict(
        drawing=DRAWING,
        subject=subject,
        image_size=IMAGE_SIZE,
        num_images=dict(num_images),
        seed=int(seed),
    )


def is_complete(
    folder: str | Path, num_images: Mapping[str, int], seed: int, subject: str = 'polyps'
) -> bool:
    """Whether `folder` holds exactly this data set, with every listed image and mask."""
    folder = Path(folder)
    try:
        # Folders of earlier versions do not say what they hold: polyps.
        about = dict(subject='polyps') | json.loads((folder / ABOUT).read_text(encoding='utf-8'))
        stems = [
            stem
            for split in num_images
            for stem in (folder / f'{split}.txt').read_text(encoding='utf-8').split()
        ]
    except (OSError, TypeError, ValueError):
        return False
    files = (path for s in stems for path in (f'images/{s}.jpg', f'masks/{s}.png'))
    return (
        about == describe(num_images, seed, subject)
        and len(stems) == sum(num_images.values())
        and all((folder / path).is_file() for path in files)
    )


def write_pair(folder: Path, stem: str, image: np.ndarray, mask: np.ndarray) -> None:
    """Write RGB pixels as `images/STEM.jpg` and their mask as `masks/STEM.png` (0 and 255)."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
    for path, pixels, options in (
        (folder / 'images' / f'{stem}.jpg', image[..., ::-1], quality),
        (folder / 'masks' / f'{stem}.png', mask.astype(np.uint8) * 255, []),
    ):
        _, content = cv2.imencode(path.suffix, pixels, options)
        path.write_bytes(content.tobytes())


def write_drawings(
    folder: str | Path,
    num_images: Mapping[str, int] | None = None,
    seed: int = 0,
    *,
    subject: str = 'polyps',
) -> bool:
    """Write drawn images as `images/`, `masks/` and one list of stems per split, if not there.

    num_images: how many of each split, such as `{'train': 208, 'val': 24, 'test': 60}`, the
    subject's own by default. subject: a key of SUBJECTS. The files depend on these and on `seed`
    alone. They are drawn beside `folder`, which appears by one rename, so that it is never half
    filled. Returns whether it was written, False where it was there.

    Raises ValueError where `folder` holds anything else, or the subject is unknown.
    """
    if subject not in SUBJECTS:
        raise ValueError(f'subject must be one of {", ".join(SUBJECTS)}, got {subject!r}')
    folder = Path(folder)
    num_images = SUBJECTS[subject].num_images if num_images is None else num_images
    if is_complete(folder, num_images, seed, subject):
        return False
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f'{folder} is there, but is not this drawn data set (another version or number of '
            'images, or files are missing); move or remove it, and it is drawn again'
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f'.{folder.name}.'))
    try:
        fill(building, num_images, seed, subject)
        building.chmod(0o755)  # mkdtemp makes folders private
        try:
            building.replace(folder)
        except OSError:
            # Another process may have finished the same folder in the meantime.
            if not is_complete(folder, num_images, seed, subject):
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return True


def fill(folder: Path, num_images: Mapping[str, int], seed: int, subject: str) -> None:
    """Draw the images, masks and lists into an empty folder."""
    for name in ('images', 'masks'):
        (folder / name).mkdir()
    drawn = SUBJECTS[subject]
    first = 0
    for split, count in num_images.items():
        indices = range(first, first + count)
        first += count
        for index in indices:
            image, mask = drawn.draw(np.random.default_rng([seed, index]), IMAGE_SIZE)
            write_pair(folder, f'{drawn.stem}_{index:04d}', image, mask)
        lines = ''.join(f'{drawn.stem}_{index:04d}\n' for index in indices)
        (folder / f'{split}.txt').write_text(lines, encoding='utf-8')
    about = json.dumps(describe(num_images, seed, subject), indent=2)
    (folder / ABOUT).write_text(f'{about}\n', encoding='utf-8')
