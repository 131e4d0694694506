"""FGVC in the layout of Visual Prompt Tuning: `train.json`, `val.json`, `test.json`.

Each file maps the path of an image to the id of its class (Jia et al., arXiv:2203.12119, and the
splits published with its code).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gps_seg.datasets.classification.image_list import (
    ImageList,
    check_files,
    gaps_note,
    part_of,
    untrained_note,
)
from gps_seg.datasets.classification.specs import ImageClasses

PARTS = ('train', 'val', 'test')
JOINED = {'train': ('train',), 'val': ('val',), 'trainval': ('train', 'val'), 'test': ('test',)}


def read_json_lists(spec: ImageClasses, root: Path, split: str) -> ImageList:
    """The images of a split.

    Ids become labels 0, 1, ... in their order, over all three files at once, so that a class has
    one label in every split. Raises FileNotFoundError for a missing file, ValueError for one that
    holds something else.
    """
    parts = JOINED[part_of(split)]
    annotations = {
        part: read_annotations(root / f'{part}.json')
        for part in PARTS
        if part in parts or (root / f'{part}.json').is_file()
    }
    ids = sorted({number for items in annotations.values() for number in items.values()})
    label_of = {number: label for label, number in enumerate(ids)}
    folder = root / spec.images
    images = [str(folder / name) for part in parts for name in annotations[part]]
    labels = [label_of[number] for part in parts for number in annotations[part].values()]
    source = ' and '.join(str(root / f'{part}.json') for part in parts)
    check_files(images, source)
    repeated = len(images) - len(set(images))
    if repeated:
        raise ValueError(f'{repeated} images stand in {source}; a split names each image once')
    classes = class_names(spec, ids, annotations)
    by_split = {
        part: [label_of[number] for number in items.values()] for part, items in annotations.items()
    }
    notes = untrained_note(by_split, classes) + gaps_note(ids)
    sizes = {part: len(items) for part, items in annotations.items()}
    return ImageList(tuple(images), tuple(labels), classes, sizes, len(classes), notes=notes)


def read_annotations(file: Path) -> dict[str, int]:
    """The paths and class ids of one file."""
    if not file.is_file():
        raise FileNotFoundError(
            f'no {file}; it maps the path of each image to the id of its class, as the splits '
            'published with Visual Prompt Tuning do (data/README.md of the project)'
        )
    try:
        items = json.loads(file.read_text(encoding='utf-8-sig'))
    except ValueError as error:
        raise ValueError(f'{file} is no JSON: {error}; fetch it again') from error
    if not isinstance(items, dict) or not items:
        raise ValueError(f'{file} is no JSON object of paths and class ids; fetch it again')
    return {name: _class_id(number, name, file) for name, number in items.items()}


def _class_id(number: Any, name: str, file: Path) -> int:
    """An id as an int; the files of some data sets write it as text."""
    if isinstance(number, int) and not isinstance(number, bool):
        return number
    if isinstance(number, str) and number.strip().lstrip('-').isdigit():
        return int(number)
    raise ValueError(f'{file} gives {name!r} the class {number!r}; a class id is a whole number')


def class_names(
    spec: ImageClasses, ids: list[int], annotations: Mapping[str, Mapping[str, int]]
) -> tuple[str, ...]:
    """The names of the classes: those of the spec by id, those of their folders, or their ids.

    The first name of the spec is that of id 1, or of id 0 where there is one. Folders name the
    classes where each class has exactly one and shares it with none.
    """
    if spec.classes is not None:
        first = min(1, ids[0])
        if first < 0 or ids[-1] - first >= len(spec.classes):
            raise ValueError(
                f'there are {len(spec.classes)} names of classes, but ids run from {ids[0]} to '
                f'{ids[-1]}; name every class, or none'
            )
        return tuple(spec.classes[number - first] for number in ids)
    folders: dict[int, set[str]] = {}
    for items in annotations.values():
        for name, number in items.items():
            folders.setdefault(number, set()).add(Path(name).parent.name)
    own = [next(iter(folders[number])) for number in ids if len(folders[number]) == 1]
    if len(set(own)) == len(ids) and '' not in own:
        return tuple(own)
    return tuple(str(number) for number in ids)
