"""Folders of class folders, listed: the images of each class, and the labels of the classes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gps_seg.datasets.classification.specs import ImageClasses
from gps_seg.datasets.classification.wordnet import imagenet_classes
from gps_seg.datasets.findings import named
from gps_seg.datasets.pairs import SUFFIXES, collect

# Names in use for the folders of the parts, in any case.
FOLDERS = {
    'train': ('train', 'training'),
    'val': ('val', 'valid', 'validation', 'dev'),
    'test': ('test', 'testing'),
}
# And for those of images and of their masks.
IMAGES = ('images', 'image', 'imgs', 'img')
MASKS: tuple[str, ...] = (
    'masks',
    'mask',
    'labels',
    'label',
    'annotations',
    'annotation',
    'annots',
    'ann',
)
MASKS += ('gt', 'gts', 'ground_truth', 'groundtruth', 'segmentation', 'segmentations', 'seg')


@dataclass(frozen=True)
class Folder:
    """The images below a folder, by the name of their class; paths are relative to `root`."""

    images: Mapping[str, Sequence[str]]
    loose: int  # images beside the class folders, which belong to no class


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


def split_folders(spec: ImageClasses, root: Path) -> dict[str, str]:
    """The folder of each split: as the spec says, or those with usual names that hold folders.

    A class may be called `train`: such a folder holds images and no folders.
    """
    if spec.folders is not None:
        return dict(spec.folders)
    found = {}
    folders = [name for name in class_names(root) if _has_folders(root / name)]
    for part, names in FOLDERS.items():
        there = [name for name in folders if name.lower() in names]
        if len(there) > 1:
            raise ValueError(
                f'{root} has {" and ".join(there)} for {part}; say which one it is, as '
                f"folders=dict({part}='{there[0]}', ...)"
            )
        if there:
            found[part] = there[0]
    return found


def mask_folders(root: Path) -> tuple[str, str] | None:
    """The folders of images and of their masks, where the folders of `root` are these, not classes.

    Beside folders of other names they are, if an image and a mask have the same name.
    """
    names = class_names(root)
    images = [name for name in names if name.lower() in IMAGES]
    masks = [name for name in names if name.lower() in MASKS]
    if not images or not masks:
        return None
    if len(images) + len(masks) < len(names):
        stems = [set(collect(root, name)[0]) for name in (images[0], masks[0])]
        if not stems[0] & stems[1]:
            return None
    return images[0], masks[0]


def _has_folders(folder: Path) -> bool:
    return any(item.is_dir() and not _is_hidden(item.name) for item in folder.iterdir())


def _is_hidden(name: str) -> bool:
    return name.startswith('.') or name == '__MACOSX'


def number_classes(
    spec: ImageClasses, root: Path, names: Sequence[str], *, some: bool = False
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The names of all classes, and the label of each folder's name.

    some: whether folders of some of the set classes do. Raises ValueError for other folders.
    """
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
    if spec.classes is not None:
        odd = sorted(set(names) - set(spec.classes) if some else set(names) ^ set(spec.classes))
        if not odd:
            return spec.classes, {name: label for label, name in enumerate(spec.classes)}
        raise ValueError(
            f'the folders in {root} are not the classes that are set: {named(odd)} is in only one '
            'of both; name all, or set no classes'
        )
    return tuple(names), {name: label for label, name in enumerate(names)}
