"""Which files a user names: files, folders and patterns, each with the name of its result."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from gps_seg.datasets.mask_folder import SUFFIXES

VOLUMES = ('.nii.gz', '.nii')


@dataclass(frozen=True)
class Item:
    """A file to predict. name: where its results go, relative and without a suffix."""

    path: Path
    name: PurePath
    suffix: str

    @property
    def is_volume(self) -> bool:
        """Whether it is a stack of slices."""
        return self.suffix in VOLUMES


def find_items(inputs: Sequence[str | Path], out: str | Path) -> list[Item]:
    """Find all files that the inputs name, in a fixed order; each once.

    inputs: files; folders, whose images and volumes are taken with their sub-folders; or patterns
        such as `data/**/*.png`. Sub-folders below the named folder, or below the part of a pattern
        before its first wildcard, are part of the result's name. A file that is named itself may
        have any suffix.
    out: where results go; what lies there is no input.

    Raises FileNotFoundError where an input names nothing, ValueError where `out` is an input.
    """
    found: dict[Path, Item] = {}
    for given in inputs:
        items = list(_items_of(str(given), Path(out)))
        if not items:
            raise FileNotFoundError(
                f'no images in {given} (looked for {", ".join((*SUFFIXES, *VOLUMES))})'
            )
        for item in items:
            found.setdefault(item.path.resolve(), item)
    return list(found.values())


def _items_of(given: str, out: Path) -> Iterator[Item]:
    path = Path(given)
    if path.is_dir():
        if path.resolve() == out.resolve():
            raise ValueError(f'{given} is both an input and where results go; choose another --out')
        yield from (_item(file, file.relative_to(path)) for file in _images_below(path, out))
    elif path.exists():
        yield _item(path, PurePath(path.name))
    elif glob.has_magic(given):
        start = _fixed_part(path)
        for file in map(Path, sorted(glob.glob(given, recursive=True))):
            if file.is_file() and _is_image(file) and not _is_below(file, out):
                yield _item(file, file.relative_to(start))
    else:
        raise FileNotFoundError(f'no file, folder or pattern {given}')


def _images_below(folder: Path, out: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        for name in sorted(files):
            file = Path(place, name)
            if _is_image(file) and not _is_below(file, out):
                yield file


def _item(path: Path, name: PurePath) -> Item:
    suffix = next((s for s in VOLUMES if path.name.lower().endswith(s)), path.suffix)
    return Item(path, name.with_name(name.name[: len(name.name) - len(suffix)]), suffix)


def _is_image(path: Path) -> bool:
    lower = path.name.lower()
    return not lower.startswith('.') and lower.endswith((*SUFFIXES, *VOLUMES))


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before its first wildcard."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)
