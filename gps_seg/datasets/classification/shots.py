"""Few images of each class, chosen by a seed."""

import hashlib
import os
from pathlib import Path

from gps_seg.datasets.classification.image_list import ImageList


def few_shots(listed: ImageList, shots: int, *, seed: int, root: Path) -> ImageList:
    """The first `shots` images of each class in an order that seed and names alone decide.

    Fewer shots of one seed are among more of it. Images keep the order of the list. root: names
    are taken relative to it, so that the choice does not depend on where the data lies.

    Raises ValueError where a class has too few images, and names it.
    """
    if shots < 1:
        raise ValueError(f'shots is a number of images of each class >= 1, not {shots}')
    by_class: dict[int, list[int]] = {}
    for place, label in enumerate(listed.labels):
        by_class.setdefault(label, []).append(place)
    poor = {label: len(places) for label, places in by_class.items() if len(places) < shots}
    if poor:
        label, count = next(iter(sorted(poor.items())))
        raise ValueError(
            f'{len(poor)} classes have fewer than shots={shots} images, such as '
            f'{listed.classes[label]!r} with {count}; take fewer shots'
        )

    def rank(place: int) -> str:
        name = os.path.relpath(listed.images[place], root).replace(os.sep, '/')
        return hashlib.sha256(f'{seed}:{name}'.encode()).hexdigest()

    chosen = [place for places in by_class.values() for place in sorted(places, key=rank)[:shots]]
    return listed.take(sorted(chosen))
