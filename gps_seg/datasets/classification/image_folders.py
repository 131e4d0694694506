"""Images in folders of their classes, as torchvision's ImageFolder reads them.

ImageNet, and anybody's own: either `train/`, `val/` and `test/` hold one folder for each class, or
the folder itself does and its images are divided by lists or by a seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gps_seg.datasets.classification.class_folders import (
    Folder,
    class_names,
    list_folder,
    number_classes,
    split_folders,
)
from gps_seg.datasets.classification.image_list import ImageList, part_of, untrained_note
from gps_seg.datasets.classification.specs import ImageClasses
from gps_seg.datasets.splits import PARTS, SHARES, divide, read_split

JOINED: dict[str, tuple[str, ...]] = {part: (part,) for part in PARTS} | {
    'trainval': ('train', 'val')
}
# Paths of images by the names of their classes.
ByClass = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Chosen:
    """The images of a split, one mapping for each part that it is made of.

    names: the classes of each part, also of those that were not listed.
    """

    images: tuple[ByClass, ...]
    names: Mapping[str, Sequence[str]]
    sizes: Mapping[str, int]
    loose: int


def read_class_folders(spec: ImageClasses, root: Path, split: str) -> ImageList:
    """The images of a split.

    Labels number the class folders of all parts together in alphabetical order, so that a class has
    one label in every split; with `class_list='imagenet'` they are those of the 1000 classes, by
    WordNet id. `spec.folders` names the folder of each split where it is another one than usual.

    Without a folder `val`, a share of each class of `train` is held out by a seed.

    Raises FileNotFoundError where a folder is missing, ValueError where a class has no images.
    """
    folders = split_folders(spec, root)
    if folders:
        chosen = _by_folders(spec, root, folders, part_of(split))
    else:
        chosen = _undivided(spec, root, part_of(split))
    names = sorted({name for listed in chosen.names.values() for name in listed})
    # Images to test on alone may be of some of the classes.
    classes, label_of = number_classes(spec, root, names, some=set(folders) == {'test'})
    pairs = [
        (image, label_of[name])
        for by_class in chosen.images
        for name in sorted(by_class)
        for image in by_class[name]
    ]
    notes = list(
        untrained_note(
            {part: [label_of[name] for name in listed] for part, listed in chosen.names.items()},
            classes,
        )
    )
    if chosen.loose:
        notes.append(f'{chosen.loose} images lie beside the class folders and are left out')
    subset = spec.num_classes is not None and spec.num_classes < len(classes)
    return ImageList(
        tuple(str(root / image) for image, _ in pairs),
        tuple(label for _, label in pairs),
        classes,
        chosen.sizes,
        len(names),
        evaluated=tuple(sorted(label_of.values())) if subset else (),
        notes=tuple(notes),
    )


def _by_folders(spec: ImageClasses, root: Path, folders: Mapping[str, str], split: str) -> Chosen:
    """The images of a split where the parts have folders of their own.

    Of a large data set only the folders that the split needs are listed, but the classes of all
    count.
    """
    sources = _sources(folders, split)
    if set(folders) == {'test'} and split != 'test':
        raise ValueError(f'{root} has test images alone, not split={split!r}')
    missing = [part for part in sources if part not in folders]
    if missing:
        known = ', '.join(f'{part}: {name}/' for part, name in folders.items())
        raise FileNotFoundError(
            f'{root} has no folder for {missing[0]!r} (it has {known}); add one, or say in folders '
            "which one it is, such as folders=dict(trainval='train', test='val')"
        )
    names, listed, loose = {}, {}, 0
    for part, name in folders.items():
        if part in sources:
            folder = list_folder(root / name, root)
            listed[part], names[part] = folder.images, list(folder.images)
            loose += folder.loose
        elif (root / name).is_dir():
            names[part] = class_names(root / name)
    sizes = {part: sum(map(len, images.values())) for part, images in listed.items()}
    images = tuple(listed[part] for part in sources)
    if split != 'test' and (sources != JOINED[split] or 'val' not in folders):
        sizes = {'trainval': sum(sizes.values())}
        if split != 'trainval':
            images = (hold_out(images[0], spec)[split],)
    return Chosen(images, names, sizes, loose)


def _sources(folders: Mapping[str, str], split: str) -> tuple[str, ...]:
    """The parts whose folders the images of a split come from."""
    if split == 'test':
        return ('test',)
    if 'trainval' in folders:
        return ('trainval',)
    return JOINED[split] if 'val' in folders else ('train',)


def _undivided(spec: ImageClasses, root: Path, split: str) -> Chosen:
    """The images of one folder of class folders, divided by lists or by the seed."""
    listed = list_folder(root, root)
    place = root if spec.lists is None else root / spec.lists
    files = {part: place / f'{part}.txt' for part in PARTS}
    there = [part for part in PARTS if files[part].is_file()]
    if (there and len(there) < len(PARTS)) or (spec.lists is not None and not there):
        had = f'only {", ".join(f"{part}.txt" for part in there)}' if there else 'no list'
        raise FileNotFoundError(
            f'{place} has {had}; give train.txt, val.txt and test.txt, one path of an image per '
            'line, or none, and the images are divided by a seed'
        )
    parts: Mapping[str, ByClass]
    if there:
        parts = {part: _listed(files[part], listed) for part in PARTS}
    else:
        parts = _divided(listed.images, SHARES, spec)
    names = {
        part: [name for name in listed.images if images.get(name)] for part, images in parts.items()
    }
    sizes = {part: sum(map(len, images.values())) for part, images in parts.items()}
    return Chosen(tuple(parts[part] for part in JOINED[split]), names, sizes, listed.loose)


def _listed(file: Path, folder: Folder) -> ByClass:
    """The images that a list names, by class."""
    class_of = {image: name for name, images in folder.images.items() for image in images}
    lines = read_split(file)
    missing = [line for line in lines if Path(line).as_posix() not in class_of]
    if missing:
        raise FileNotFoundError(
            f'{file} names {len(missing)} files of {len(lines)} that are no images in class '
            f'folders, the first is {missing[0]}; write paths such as {next(iter(class_of))}'
        )
    parts: dict[str, list[str]] = {name: [] for name in folder.images}
    for line in lines:
        parts[class_of[Path(line).as_posix()]].append(Path(line).as_posix())
    return parts


def hold_out(images: ByClass, spec: ImageClasses) -> dict[str, ByClass]:
    """Divide the images of each class into `train` and `val`."""
    if not 0 < spec.held_out < 1:
        raise ValueError(f'held_out is a share between 0 and 1, not {spec.held_out}')
    return _divided(images, {'train': 1 - spec.held_out, 'val': spec.held_out}, spec)


def _divided(
    images: ByClass, shares: Mapping[str, float], spec: ImageClasses
) -> dict[str, ByClass]:
    """Divide each class by the seed; with a group pattern, all classes together.

    The pattern sees the path below the class folder, since a group may have images of many classes.
    """
    class_of = {image: name for name, listed in images.items() for image in listed}
    if spec.group is None:
        divided = [divide(listed, seed=spec.seed, shares=shares) for listed in images.values()]
    else:
        below = {i: f'/{i}'.partition(f'/{name}/')[2] for i, name in class_of.items()}
        divided = [divide(class_of, seed=spec.seed, shares=shares, group=spec.group, seen_as=below)]
    parts: dict[str, dict[str, list[str]]] = {part: {} for part in shares}
    for division in divided:
        for part, chosen in division.items():
            for image in chosen:
                parts[part].setdefault(class_of[image], []).append(image)
    return dict(parts)
