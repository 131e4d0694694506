"""Image sets that the Hugging Face `datasets` library saved to disk (an extra)."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gps_seg.datasets.classification.image_folders import hold_out
from gps_seg.datasets.classification.image_list import (
    ImageList,
    check_labels,
    gaps_note,
    part_of,
)
from gps_seg.datasets.classification.specs import ImageClasses
from gps_seg.datasets.findings import named
from gps_seg.datasets.reading import decode_image, read_image

NAMES = {
    'train': ('train', 'training'),
    'val': ('validation', 'val', 'valid', 'dev'),
    'test': ('test', 'testing'),
}


@dataclass(frozen=True)
class StoredRows:
    """Images of an Arrow table, decoded as files are."""

    table: Any
    column: str
    places: tuple[int, ...]
    name: str

    def __call__(self, place: int) -> np.ndarray:
        row = self.places[place]
        stored = self.table[row][self.column]
        if stored['bytes'] is None:
            return read_image(stored['path'])[0]
        return decode_image(stored['bytes'], f'{self.name}#{row}')[0]


def read_hugging_face(spec: ImageClasses, root: Path, split: str) -> ImageList:
    """The images of a split of what `save_to_disk` wrote.

    Without a part `validation`, a share of each class of `train` is held out by a seed. The columns
    are the only one of images and the only one of classes, unless the spec names them. Labels that
    neither the file nor the spec names are ids, which become labels 0, 1, ... in their order.

    Raises ModuleNotFoundError that names the extra, FileNotFoundError for a missing part,
    ValueError where the columns are not known.
    """
    library = import_library()
    stored = _load(library, root)
    parts = _parts(stored, root)
    held_out = 'val' not in parts
    wanted = {'trainval': ('train', 'val')}.get(part_of(split), (split,))
    if held_out and split != 'test':
        wanted = ('train',)
    missing = [part for part in wanted if part not in parts]
    if missing:
        raise FileNotFoundError(
            f'{root} has no part {missing[0]!r} (it has {", ".join(stored)}); save a DatasetDict '
            'that has it'
        )
    tables = [parts[part] for part in wanted]
    table = tables[0] if len(tables) == 1 else library.concatenate_datasets(tables)
    image_column, label_column = columns_of(library, table, spec, root)
    table = table.cast_column(image_column, library.Image(decode=False))
    labels = _labels_of(table, label_column, root)
    classes = spec.classes or getattr(table.features[label_column], 'names', None)
    notes: tuple[str, ...] = ()
    if classes is None:
        ids = _ids(parts.values(), label_column, root)
        label_of = {number: label for label, number in enumerate(ids)}
        labels = [label_of.get(number, number) for number in labels]
        classes = [str(number) for number in ids]
        notes = gaps_note(ids)
    images = [f'{root}/{"+".join(wanted)}#{row}' for row in range(len(labels))]
    check_labels(labels, len(classes), images)
    places = list(range(len(labels)))
    sizes = {part: len(parts[part]) for part in parts}
    if held_out and 'train' in sizes:
        sizes['trainval'] = sizes.pop('train')
        if split in ('train', 'val'):
            places = _held_out(spec, labels, split)
    return ImageList(
        tuple(images[place] for place in places),
        tuple(labels[place] for place in places),
        tuple(classes),
        sizes,
        len(set(labels)),
        StoredRows(table.select_columns([image_column]), image_column, tuple(places), str(root)),
        notes=notes,
    )


def _ids(tables: Iterable[Any], column: str, root: Path) -> list[int]:
    """The ids of the classes in all parts, in order; a negative label is that of no class."""
    return sorted({i for table in tables for i in _labels_of(table, column, root) if i >= 0})


def _labels_of(table: Any, column: str, root: Path) -> list[int]:
    """The labels of a column. Raises ValueError where they are no numbers."""
    stored = table[column]
    try:
        return [int(label) for label in stored]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f'{root}: the column {column!r} has labels such as {stored[0]!r}, which are no numbers '
            f'of classes; save the data set with dataset.class_encode_column({column!r})'
        ) from error


def import_library() -> Any:
    """The `datasets` library. Raises ModuleNotFoundError that names the extra."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'a Hugging Face data set on disk is read by the library datasets; pip install '
            "'gps-seg[datasets]'"
        ) from error
    return datasets


def _load(library: Any, root: Path) -> Any:
    try:
        stored = library.load_from_disk(str(root))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{root} is no data set that save_to_disk of the library datasets wrote; save it so'
        ) from error
    return stored if isinstance(stored, dict) else {str(stored.split or 'train'): stored}


def _parts(stored: Any, root: Path) -> dict[str, Any]:
    parts = {}
    for part, names in NAMES.items():
        there = [name for name in names if name in stored]
        if len(there) > 1:
            raise ValueError(f'{root} has {" and ".join(there)} for {part}; keep one of them')
        if there:
            parts[part] = stored[there[0]]
    return parts


def columns_of(library: Any, table: Any, spec: ImageClasses, root: Path) -> tuple[str, str]:
    """The names of the columns of images and of labels."""
    images = [name for name, kind in table.features.items() if isinstance(kind, library.Image)]
    labels = [name for name, kind in table.features.items() if isinstance(kind, library.ClassLabel)]
    found = []
    for setting, given, candidates in (
        ('image_column', spec.image_column, images),
        ('label_column', spec.label_column, labels),
    ):
        if given is not None:
            if given not in table.features:
                raise ValueError(
                    f'{root} has no column {given!r}; it has {named(list(table.features))}'
                )
            found.append(given)
        elif len(candidates) == 1:
            found.append(candidates[0])
        else:
            listed = ', '.join(candidates) if candidates else 'none'
            raise ValueError(
                f'{root}: which column is the {setting} ({listed} of {named(list(table.features))} '
                f'could be)? set {setting}'
            )
    return found[0], found[1]


def _held_out(spec: ImageClasses, labels: list[int], split: str) -> list[int]:
    by_class: dict[str, list[str]] = {}
    for place, label in enumerate(labels):
        by_class.setdefault(str(label), []).append(f'{place:09d}')
    parts = hold_out(by_class, spec)
    return sorted(int(name) for chosen in parts[split].values() for name in chosen)
