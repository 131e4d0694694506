"""CIFAR-10 and CIFAR-100: the python pickles of their authors, or folders of class folders.

Krizhevsky 2009; https://www.cs.toronto.edu/~kriz/cifar.html describes the files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gps_seg.datasets.classification.image_folders import hold_out, read_class_folders
from gps_seg.datasets.classification.image_list import ImageList, check_labels, part_of
from gps_seg.datasets.classification.plain_pickle import read_plain_pickle
from gps_seg.datasets.classification.specs import ImageClasses

SIDE = 32


@dataclass(frozen=True)
class Batches:
    """Where the pickles of one of the two data sets lie, and what they call things."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: str
    meta: str
    names: str


CIFAR = {
    10: Batches(
        'cifar-10-batches-py',
        tuple(f'data_batch_{number}' for number in range(1, 6)),
        ('test_batch',),
        'labels',
        'batches.meta',
        'label_names',
    ),
    100: Batches(
        'cifar-100-python', ('train',), ('test',), 'fine_labels', 'meta', 'fine_label_names'
    ),
}


@dataclass(frozen=True)
class Rows:
    """Images of pickles: (N, 3072) uint8, red, green and blue planes one after the other."""

    data: np.ndarray
    places: np.ndarray

    def __call__(self, place: int) -> np.ndarray:
        planes = self.data[self.places[place]].reshape(3, SIDE, SIDE)
        return np.ascontiguousarray(planes[::-1].transpose(1, 2, 0))


def read_cifar(spec: ImageClasses, root: Path, split: str) -> ImageList:
    """The images of a split: `trainval` are the published training images, `val` some of them.

    A share of each class is held out by a seed for `val`. Raises FileNotFoundError for a missing
    file, ValueError for one that holds something else.
    """
    if spec.num_classes not in CIFAR:
        raise ValueError(f'CIFAR has 10 or 100 classes, num_classes is {spec.num_classes}')
    batches = CIFAR[spec.num_classes]
    inner = root / batches.folder
    folder = inner if inner.is_dir() else root
    if not any((folder / name).is_file() for name in (*batches.train, *batches.test)):
        return read_class_folders(spec, root, split)
    names = batches.test if part_of(split) == 'test' else batches.train
    tables = [_read_batch(folder / name, batches.labels) for name in names]
    data = np.concatenate([table for table, _ in tables])
    labels = [label for _, part in tables for label in part]
    images = [
        f'{folder / name}#{row}'
        for name, (t, _) in zip(names, tables, strict=True)
        for row in range(len(t))
    ]
    classes = _class_names(folder / batches.meta, batches.names)
    check_labels(labels, len(classes), images)
    places = list(range(len(images)))
    if split in ('train', 'val'):
        places = _held_out(spec, folder, images, labels, split)
    whole = 'test' if split == 'test' else 'trainval'
    return ImageList(
        tuple(images[place] for place in places),
        tuple(labels[place] for place in places),
        classes,
        {whole: len(images)},
        len(set(labels)),
        Rows(data, np.array(places)),
    )


def _held_out(
    spec: ImageClasses, folder: Path, images: list[str], labels: list[int], split: str
) -> list[int]:
    """The places of the training images that a split takes."""
    by_class: dict[str, list[str]] = {}
    place_of = {}
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        name = Path(image).relative_to(folder).as_posix()
        place_of[name] = place
        by_class.setdefault(str(label), []).append(name)
    parts = hold_out(by_class, spec)
    return sorted(place_of[name] for chosen in parts[split].values() for name in chosen)


def _read_batch(path: Path, key: str) -> tuple[np.ndarray, list[int]]:
    table = _table(path)
    data, labels = table.get('data'), table.get(key)
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.ndim != 2
        or data.shape[1] != 3 * SIDE * SIDE
        or not isinstance(labels, list)
        or len(labels) != len(data)
        or not all(isinstance(label, int) for label in labels)
    ):
        raise ValueError(
            f'{path} has no (N, 3072) uint8 {"data"!r} with N whole numbers {key!r}; it is no '
            'batch of CIFAR: fetch it again'
        )
    return data, labels


def _class_names(path: Path, key: str) -> tuple[str, ...]:
    names = _table(path).get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f'{path} has no list of names {key!r}; fetch it again')
    return tuple(names)


def _table(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f'no file {path}; unpack the python version of CIFAR again')
    table = read_plain_pickle(path)
    if not isinstance(table, dict):
        raise ValueError(f'{path} holds no dict but {type(table).__name__}; fetch it again')
    return table
