"""Results that are a file or a folder of files: written whole, moved, copied, measured."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from gps_seg.files.atomic import own_folder, remove_leftovers
from gps_seg.files.errors import explained_write


def write_folder(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a new folder, then put it in the place of `path`.

    Never half a folder: a kill leaves the old one, the new one, or, between two renames, none.
    Raises NotWritten where the disk is full or the place must not be written.
    """
    path = Path(path)
    with explained_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        with own_folder(path) as folder:
            new = folder / path.name
            new.mkdir()
            write(new)
            move_over(new, path)


def move_over(source: Path, target: Path) -> None:
    """Rename a file or a folder onto another one of its kind, which goes."""
    if target.is_dir():
        with own_folder(target) as folder:
            os.replace(target, folder / 'old')
            os.replace(source, target)
    else:
        os.replace(source, target)


def copy_over(source: Path, target: Path) -> None:
    """Copy a folder onto another one, which goes."""

    def write(new: Path) -> None:
        shutil.copytree(source, new, dirs_exist_ok=True)

    write_folder(target, write)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def num_bytes(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = path.rglob('*') if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
