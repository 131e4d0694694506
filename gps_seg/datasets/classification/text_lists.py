"""VTAB-1k in the layout of NOAH: lists of `path label`, one image per line.

`train800.txt`, `val200.txt`, `train800val200.txt` and `test.txt` (Zhang et al., arXiv:2206.04673,
whose archive of the 19 tasks SSF, FacT, RepAdapter and others load too).
"""

from pathlib import Path

from gps_seg.datasets.classification.image_list import (
    ImageList,
    check_files,
    check_labels,
    part_of,
    untrained_note,
)
from gps_seg.datasets.classification.specs import ImageClasses

FILES = {
    'train': 'train800.txt',
    'val': 'val200.txt',
    'trainval': 'train800val200.txt',
    'test': 'test.txt',
}


def read_text_lists(spec: ImageClasses, root: Path, split: str) -> ImageList:
    """The images of a split.

    Labels are those of the lists, in [0, num_classes); without num_classes in the spec, up to the
    largest one. Raises FileNotFoundError for a missing list or image, ValueError for a line that
    says something else.
    """
    part_of(split)
    lists = {
        part: read_lines(root / file)
        for part, file in FILES.items()
        if part == split or (root / file).is_file()
    }
    labels_of = {part: [label for _, label in lines] for part, lines in lists.items()}
    present = {label for labels in labels_of.values() for label in labels}
    num_classes = spec.num_classes or max(present) + 1
    folder = root / spec.images
    images = [str(folder / name) for name, _ in lists[split]]
    check_labels(labels_of[split], num_classes, images)
    check_files(images, str(root / FILES[split]))
    classes = spec.classes or read_class_names(root, num_classes)
    if len(classes) != num_classes:
        raise ValueError(f'there are {len(classes)} names for {num_classes} classes; name each')
    notes = untrained_note(
        {part: labels for part, labels in labels_of.items() if max(labels) < num_classes}, classes
    )
    sizes = {part: len(lines) for part, lines in lists.items()}
    return ImageList(
        tuple(images), tuple(labels_of[split]), classes, sizes, len(present), notes=notes
    )


def read_lines(file: Path) -> list[tuple[str, int]]:
    """The paths and labels of a list; empty lines do not count."""
    if not file.is_file():
        raise FileNotFoundError(
            f'no list {file}; it has one line `path label` for each image, as the VTAB-1k archive '
            'of NOAH (data/README.md of the project)'
        )
    lines = []
    text = file.read_text(encoding='utf-8-sig')
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(' ')
        if not name or not label.isdigit():
            raise ValueError(f'{file}, line {number}: {line!r} is not `path label`')
        lines.append((name.strip(), int(label)))
    if not lines:
        raise ValueError(f'the list {file} is empty; fetch it again')
    names = {name for name, _ in lines}
    if len(names) < len(lines):
        raise ValueError(f'{file} repeats {len(lines) - len(names)} images; it names each once')
    return lines


def read_class_names(root: Path, num_classes: int) -> tuple[str, ...]:
    """The names in `classes.txt`, one per line in the order of the labels; numbers without it."""
    file = root / 'classes.txt'
    if not file.is_file():
        return tuple(str(label) for label in range(num_classes))
    names = [line.strip() for line in file.read_text(encoding='utf-8-sig').splitlines()]
    names = [name for name in names if name]
    if len(names) != num_classes or len(set(names)) != num_classes:
        raise ValueError(
            f'{file} has {len(set(names))} different names for {num_classes} classes; it has one '
            'per line, in the order of the labels (remove it, and they are called by number)'
        )
    return tuple(names)
