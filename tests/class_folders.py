"""Miniature image-classification data sets in every layout that the project reads.

`make_layout(root, 'fgvc/cub')` makes the folders and lists of that spec below the data root `root`,
with a few classes and tiny pictures, so that a config of it builds and trains.
"""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from gps_seg.datasets.classification import IMAGE_CLASSES, ImageClasses
from gps_seg.datasets.classification.cifar import CIFAR
from gps_seg.datasets.classification.corruptions import CORRUPTIONS
from gps_seg.datasets.classification.wordnet import imagenet_classes

PARTS = ('train', 'val', 'test')


def draw_image(label: int, number: int, size: int, seed: int = 0) -> np.ndarray:
    """A noisy picture, (size, size, 3) uint8, whose colour tells its class."""
    generator = np.random.default_rng([seed, label, number])
    colour = np.array([37 * label + 20, 91 * label + 60, 151 * label + 100]) % 200
    noise = generator.integers(0, 56, (size, size, 3))
    return (colour + noise).astype(np.uint8)


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a picture in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def make_layout(
    root: Path, spec_name: str, classes: int = 3, per_class: int = 4, size: int = 32
) -> Path:
    """Make a data set of `IMAGE_CLASSES` in its layout. Returns its folder.

    root: the data root (what GPS_SEG_DATA names).
    classes: number of classes, at most those of the spec.
    per_class: images of each class in each split.
    size: height and width of the images, in pixels, where the published ones have no fixed size.
    """
    spec = IMAGE_CLASSES[spec_name]
    folder = root / spec.root
    folder.mkdir(parents=True, exist_ok=True)
    MAKERS[spec.layout](folder, spec, classes, per_class, size)
    return folder


def make_json_lists(
    folder: Path, spec: ImageClasses, classes: int, per_class: int, size: int
) -> None:
    """FGVC as Visual Prompt Tuning lays it out; class ids start at 1."""
    for index, part in enumerate(PARTS):
        items = {}
        for label in range(classes):
            for number in range(per_class):
                name = f'{label + 1:03d}.class_{label}/{part}_{number}.jpg'
                write_image(folder / spec.images / name, draw_image(label, number, size, index))
                items[name] = label + 1
        (folder / f'{part}.json').write_text(json.dumps(items))


def make_text_lists(
    folder: Path, spec: ImageClasses, classes: int, per_class: int, size: int
) -> None:
    """A task of VTAB-1k as NOAH lays it out, with images stored without loss."""
    lines: dict[str, list[str]] = {}
    for index, part in enumerate(('train800', 'val200', 'test')):
        lines[part] = []
        for number in range(classes * per_class):
            label = number % classes
            name = f'images/{part}/{number:06d}.png'
            write_image(folder / name, draw_image(label, number, spec.side or size, index))
            lines[part].append(f'{name} {label}')
    lines['train800val200'] = lines['train800'] + lines['val200']
    for part, listed in lines.items():
        (folder / f'{part}.txt').write_text('\n'.join(listed) + '\n')


def make_class_folders(
    folder: Path, spec: ImageClasses, classes: int, per_class: int, size: int
) -> None:
    """ImageNet and its kin: one folder for each class in the folder of each split."""
    names = folder_names(spec, classes)
    folders = dict.fromkeys((spec.folders or {part: part for part in PARTS}).values())
    for index, part in enumerate(folders):
        fill_class_folders(folder / part, names, per_class, size, index)


def folder_names(spec: ImageClasses, classes: int) -> list[str]:
    """WordNet ids for ImageNet, other names otherwise."""
    if spec.class_list == 'imagenet':
        return list(imagenet_classes())[:classes]
    return [f'class_{label:03d}' for label in range(classes)]


def fill_class_folders(
    folder: Path, names: list[str], per_class: int, size: int, seed: int = 0
) -> None:
    """Pictures in a folder for each name."""
    for label, name in enumerate(names):
        for number in range(per_class):
            file = folder / name / f'{name}_{number}.jpg'
            write_image(file, draw_image(label, number, size, seed))


def make_corruptions(
    folder: Path, spec: ImageClasses, classes: int, per_class: int, size: int
) -> None:
    """ImageNet-C: its 15 corruptions, each at 5 severities."""
    names = folder_names(spec, classes)
    for index, corruption in enumerate(CORRUPTIONS):
        for severity in range(1, 6):
            place = folder / corruption / str(severity)
            fill_class_folders(place, names, per_class, size, 5 * index + severity)


def make_cifar(folder: Path, spec: ImageClasses, classes: int, per_class: int, size: int) -> None:
    """CIFAR as its authors' python pickles, of 32 x 32 pixels whatever `size` says."""
    batches = CIFAR[spec.num_classes or 100]
    names = [f'class_{label:03d}' for label in range(classes)]
    for index, file in enumerate((*batches.train, *batches.test)):
        labels = [label for _ in range(per_class) for label in range(classes)]
        images = [draw_image(label, n, 32, index) for n, label in enumerate(labels)]
        planes = np.stack(images)[..., ::-1].transpose(0, 3, 1, 2).reshape(len(images), -1)
        table = {'data': np.ascontiguousarray(planes), batches.labels: labels}
        (folder / file).write_bytes(pickle.dumps(table, protocol=2))
    (folder / batches.meta).write_bytes(pickle.dumps({batches.names: names}, protocol=2))


Maker = Callable[[Path, ImageClasses, int, int, int], None]
MAKERS: dict[str, Maker] = {
    'json_lists': make_json_lists,
    'text_lists': make_text_lists,
    'class_folders': make_class_folders,
    'corruptions': make_corruptions,
    'cifar': make_cifar,
}
