"""Folders of class folders, as torchvision's ImageFolder reads them: ImageNet, and anybody's own.

Either `train/`, `val/` and `test/` hold one folder for each class, or the folder itself does and
its images are divided by lists or by a seed.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gps_seg.datasets.classification.image_list import ImageList, part_of, untrained_note
from gps_seg.datasets.classification.specs import ImageClasses
from gps_seg.datasets.classification.wordnet import imagenet_classes
from gps_seg.datasets.findings import named
from gps_seg.datasets.pairs import SUFFIXES
from gps_seg.datasets.splits import PARTS, SHARES, divide, read_split

# Names in use for the folders of the parts.
FOLDERS = {
    'train': ('train', 'training'),
    'val': ('val', 'valid', 'validation', 'dev'),
    'test': ('test', 'testing'),
}
JOINED: dict[str, tuple[str, ...]] = {part: (part,) for part in PARTS} | {
    'trainval': ('train', 'val')
}


@dataclass(frozen=True)
class Folder:
    """The images below a folder, by the name of their class; paths are relative to `root`."""

    images: Mapping[str, Sequence[str]]
    loose: int  # images beside the class folders, which belong to no class


def read_class_folders(spec: ImageClasses, root: Path, split: str) -> ImageList:
    """The images of a split.

    Labels number the class folders of all parts together in alphabetical order, so that a class has
    one label in every split; with `class_list='imagenet'` they are those of the 1000 classes, by
    WordNet id. `spec.folders` names the folder of each split where it is another one than usual.

    Without a folder `val`, a share of each class of `train` is held out by a seed.

    Raises FileNotFoundError where a folder is missing, ValueError where a class has no images.
    """
    part_of(split)
    folders = split_folders(spec, root)
    if folders:
        parts, sizes, loose = _by_folders(spec, root, folders, split)
    else:
        parts, sizes, loose = _undivided(spec, root)
    names = sorted({name for images in parts.values() for name in images})
    classes, label_of = number_classes(spec, root, names)
    chosen = [
        (image, label_of[name])
        for part in JOINED[split]
        for name in sorted(parts[part])
        for image in parts[part][name]
    ]
    by_split = {
        part: {label_of[name] for name, images in parts[part].items() if images} for part in parts
    }
    notes = list(untrained_note(by_split, classes))
    if loose:
        notes.append(f'{loose} images lie beside the class folders and are left out')
    subset = spec.num_classes is not None and spec.num_classes < len(classes)
    return ImageList(
        tuple(str(root / image) for image, _ in chosen),
        tuple(label for _, label in chosen),
        classes,
        sizes,
        len(names),
        notes=tuple(notes),
        evaluated=tuple(sorted(label_of.values())) if subset else (),
    )


def split_folders(spec: ImageClasses, root: Path) -> dict[str, str]:
    """The folder of each split: as the spec says, or those with usual names that hold folders.

    A class may be called `train`: such a folder holds images and no folders.
    """
    if spec.folders is not None:
        return dict(spec.folders)
    found = {}
    for part, names in FOLDERS.items():
        there = [name for name in names if (root / name).is_dir() and _has_folders(root / name)]
        if len(there) > 1:
            raise ValueError(
                f'{root} has {" and ".join(there)} for {part}; say which one it is, as '
                f"folders=dict({part}='{there[0]}', ...)"
            )
        if there:
            found[part] = there[0]
    return found


def _has_folders(folder: Path) -> bool:
    return any(item.is_dir() and not _is_hidden(item.name) for item in folder.iterdir())


def _is_hidden(name: str) -> bool:
    return name.startswith('.') or name == '__MACOSX'


def _by_folders(
    spec: ImageClasses, root: Path, folders: Mapping[str, str], split: str
) -> tuple[dict[str, dict[str, Sequence[str]]], dict[str, int], int]:
    """The images of the parts that have folders of their own, by class."""
    needed = {'test'} if split == 'test' else {'train', 'trainval'} if split != 'val' else {'val'}
    # Of a large data set only what is asked for is listed, but all parts' class names count.
    held_out = 'val' not in folders
    if split == 'val' and held_out:
        needed = {'train', 'trainval'}
    if split == 'trainval':
        needed |= {'val'}
    if set(folders) == {'test'} and split != 'test':
        raise ValueError(f'{root} has test images alone, not split={split!r}')
    parts: dict[str, dict[str, Sequence[str]]] = {}
    sizes, loose = {}, 0
    for part, name in folders.items():
        folder = root / name
        if not folder.is_dir():
            if part in needed:
                raise FileNotFoundError(
                    f'no folder {folder} for {part}; it holds one folder of images for each class'
                )
            continue
        if part not in needed:
            parts[part] = {label: () for label in class_names(folder)}
            continue
        listed = list_folder(folder, root)
        loose += listed.loose
        parts[part] = dict(listed.images)
        sizes[part] = sum(map(len, listed.images.values()))
    if not needed & set(parts):
        known = ', '.join(f'{part}: {name}/' for part, name in folders.items())
        raise FileNotFoundError(
            f'{root} has no folder for {split!r} (it has {known}); add one, or say in folders=... '
            "which one it is, such as folders=dict(trainval='train', test='val')"
        )
    whole = parts.pop('trainval', None) or (parts.get('train') if held_out else None)
    if whole is not None:
        if needed & {'train', 'trainval'}:
            sizes['trainval'] = sum(map(len, whole.values()))
        parts['train'], parts['val'] = hold_out(whole, spec)
    for part in PARTS:
        parts.setdefault(part, {})
    return parts, sizes, loose


def _undivided(
    spec: ImageClasses, root: Path
) -> tuple[dict[str, dict[str, Sequence[str]]], dict[str, int], int]:
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
    if there:
        parts = {part: _listed(files[part], listed) for part in PARTS}
    else:
        parts = _divided(listed.images, SHARES, spec)
    sizes = {part: sum(map(len, images.values())) for part, images in parts.items()}
    return parts, sizes, listed.loose


def _listed(file: Path, folder: Folder) -> dict[str, Sequence[str]]:
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
    return dict(parts)


def hold_out(
    images: Mapping[str, Sequence[str]], spec: ImageClasses
) -> tuple[dict[str, Sequence[str]], dict[str, Sequence[str]]]:
    """Divide the images of each class into those to train on and those to choose on."""
    shares = {'train': 1 - spec.held_out, 'val': spec.held_out}
    parts = _divided(images, shares, spec)
    return parts['train'], parts['val']


def _divided(
    images: Mapping[str, Sequence[str]], shares: Mapping[str, float], spec: ImageClasses
) -> dict[str, dict[str, Sequence[str]]]:
    """Divide each class by the seed; with a group pattern, all classes together."""
    parts: dict[str, dict[str, Sequence[str]]] = {part: {} for part in shares}
    if spec.group is None:
        for name, listed in images.items():
            for part, chosen in divide(listed, seed=spec.seed, shares=shares).items():
                parts[part][name] = chosen
        return parts
    class_of = {image: name for name, listed in images.items() for image in listed}
    divided = divide(class_of, seed=spec.seed, shares=shares, group=spec.group)
    for part, chosen in divided.items():
        parts[part] = {name: [] for name in images}
        for image in chosen:
            parts[part][class_of[image]].append(image)  # type: ignore[attr-defined]
    return parts


def class_names(folder: Path) -> list[str]:
    """The class folders of a folder, in order."""
    return sorted(
        item.name for item in os.scandir(folder) if item.is_dir() and not _is_hidden(item.name)
    )


def list_folder(folder: Path, root: Path) -> Folder:
    """The images below each class folder, in order; paths are relative to root.

    Raises FileNotFoundError where there are no class folders, or none in one of them.
    """
    names = class_names(folder)
    images: dict[str, list[str]] = {name: _images_below(folder / name, root) for name in names}
    loose = sum(item.is_file() and _goes_by_an_image_name(item.name) for item in os.scandir(folder))
    empty = [name for name, listed in images.items() if not listed]
    if not names or len(empty) == len(names):
        raise FileNotFoundError(
            f'{folder} has no folders of images; it needs one folder for each class'
        )
    if empty:
        raise FileNotFoundError(
            f'{len(empty)} class folders in {folder} have no images: {named(empty)}; fill them, or '
            'remove them'
        )
    return Folder(images, loose)


def _images_below(folder: Path, root: Path) -> list[str]:
    prefix = folder.relative_to(root).as_posix()
    found: list[str] = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        inner = Path(place).relative_to(folder).as_posix()
        start = prefix if inner == '.' else f'{prefix}/{inner}'
        found += [f'{start}/{name}' for name in files if _goes_by_an_image_name(name)]
    return sorted(found)


def _goes_by_an_image_name(name: str) -> bool:
    # Asked a million times of ImageNet, so without a Path.
    return name.lower().endswith(SUFFIXES) and not name.startswith('.')


def number_classes(
    spec: ImageClasses, root: Path, names: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The names of all classes, and the label of each folder's name."""
    if spec.class_list == 'imagenet':
        known = imagenet_classes()
        foreign = [name for name in names if name not in known]
        if foreign:
            raise ValueError(
                f'{len(foreign)} folders in {root} are none of the 1000 classes of ImageNet: '
                f'{named(foreign)}; their names are WordNet ids such as n01440764'
            )
        labels = {name: label for label, name in enumerate(known)}
        return tuple(known.values()), {name: labels[name] for name in names}
    if spec.classes is not None and set(spec.classes) == set(names):
        return spec.classes, {name: label for label, name in enumerate(spec.classes)}
    if spec.classes is not None:
        odd = sorted(set(names) ^ set(spec.classes))
        raise ValueError(
            f'the folders in {root} are not the classes that are set: {named(odd)} is in only one '
            'of both; name all, or set no classes'
        )
    return tuple(names), {name: label for label, name in enumerate(names)}
