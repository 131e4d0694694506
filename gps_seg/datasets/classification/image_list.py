"""Images and their labels, as a layout on disk gives them."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gps_seg.datasets.findings import named

SPLITS = ('train', 'val', 'trainval', 'test')


@dataclass(frozen=True)
class ImageList:
    """The images of one split, and what the whole data set is like.

    images: paths of files, or names of images that `pixels` holds.
    labels: of each image, in [0, len(classes)).
    classes: their names.
    sizes: the number of images of each split that could be counted, this one included.
    present: the number of classes that the files have; below `len(classes)` where a published list
        of classes is longer.
    pixels: from the place in `images` to (H, W, 3) uint8, blue first, for images that are no files.
    extra: more of what each sample is, such as its corruption.
    evaluated: of a subset of known classes, the labels that scores are restricted to.
    notes: what is odd about the files, in words.
    """

    images: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    sizes: Mapping[str, int]
    present: int
    pixels: Callable[[int], np.ndarray] | None = None
    extra: tuple[Mapping[str, Any], ...] = ()
    evaluated: tuple[int, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def take(self, places: Sequence[int]) -> 'ImageList':
        """The list with some of its images, in this order."""
        pixels = self.pixels
        return replace(
            self,
            images=tuple(self.images[i] for i in places),
            labels=tuple(self.labels[i] for i in places),
            pixels=None if pixels is None else _Taken(pixels, tuple(places)),
            extra=tuple(self.extra[i] for i in places) if self.extra else (),
        )


@dataclass(frozen=True)
class _Taken:
    """The pixels of some places of a list; a class, since workers have to pickle it."""

    pixels: Callable[[int], np.ndarray]
    places: tuple[int, ...]

    def __call__(self, place: int) -> np.ndarray:
        return self.pixels(self.places[place])


def check_files(files: Iterable[str], source: str) -> None:
    """Raise FileNotFoundError where listed files are missing. source: what lists them.

    Folders are listed once each, which is much faster than asking for every file.
    """
    folders: dict[str, set[str]] = {}
    missing = []
    total = 0
    for file in files:
        total += 1
        folder, name = os.path.split(file)
        if folder not in folders:
            folders[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if name not in folders[folder]:
            missing.append(file)
    if missing:
        raise FileNotFoundError(
            f'{source} names {len(missing)} files of {total} that are not there, the first is '
            f'{missing[0]}; complete the data, or correct the list'
        )


def check_labels(labels: Sequence[int], num_classes: int, names: Sequence[str]) -> None:
    """Raise ValueError where a label lies outside of [0, num_classes). names: of the images."""
    wrong = [i for i, label in enumerate(labels) if not 0 <= label < num_classes]
    if wrong:
        first = wrong[0]
        raise ValueError(
            f'{len(wrong)} labels lie outside of 0..{num_classes - 1}, the first is '
            f'{labels[first]} of {names[first]}; number the {num_classes} classes from 0 on, or '
            'set num_classes'
        )


def untrained_note(
    by_split: Mapping[str, Iterable[int]], classes: Sequence[str]
) -> tuple[str, ...]:
    """Say which classes are tested but stand in no training image."""
    seen = {split: set(labels) for split, labels in by_split.items()}
    trained = seen.get('train', set()) | seen.get('trainval', set())
    lacking = sorted(seen.get('test', set()) - trained)
    if not trained or not lacking:
        return ()
    listed = named([classes[label] for label in lacking])
    return (f'{len(lacking)} classes are tested but have no training image: {listed}',)


def gaps_note(ids: Sequence[int]) -> tuple[str, ...]:
    """Say where ids of classes, in order, have gaps, so that their labels are other numbers."""
    gaps = ids[-1] - ids[0] + 1 - len(ids) if ids else 0
    if not gaps:
        return ()
    return (f'ids {ids[0]}..{ids[-1]} with {gaps} gaps became labels 0..{len(ids) - 1} in order',)


def part_of(split: str, known: Sequence[str] = SPLITS) -> str:
    """The split, if there is one of this name. Raises ValueError otherwise."""
    if split not in known:
        raise ValueError(f'no split {split!r}; there are {", ".join(known)}')
    return split
