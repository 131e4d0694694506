"""Writing whole files or nothing.

A file is written in a folder of its own beside the target, brought to the disk, and then renamed.
The folder is locked for as long as its writer lives, so that what a killed writer left is told from
what another one is writing now, and is removed by the next that writes the same file.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gps_seg.files.errors import explained_write

if os.name == 'posix':
    import fcntl

SUFFIX = '.tmp'


def write_atomically(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file, bring it to the disk, then rename it onto `path`.

    An interruption, a power cut included, leaves either the old file or the new one, never a
    mixture. What killed runs left of earlier writes of this file is removed.

    Raises NotWritten, with the old file intact, where the disk is full, the folder must not be
    written or `path` is a folder.
    """
    path = Path(path)
    with explained_write(path):
        if path.is_dir():
            raise IsADirectoryError
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        with own_folder(path) as folder:
            temporary = folder / path.name
            temporary.touch()
            write(temporary)
            # Libraries make some files private; a result file is as any other new file.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)


def write_content(path: str | Path, content: str | bytes) -> None:
    """Write a whole text (UTF-8) or byte string, atomically."""
    encoded = content.encode() if isinstance(content, str) else content

    def write(temporary: Path) -> None:
        temporary.write_bytes(encoded)

    write_atomically(path, write)


def remove_leftovers(folder: str | Path, name: str | None = None) -> list[Path]:
    """Remove what killed writers left in a folder, of the file `name` or of any.

    Leaves alone what a running process is writing. Returns what it removed.
    """
    removed = []
    for entry in os.scandir(folder):
        ours = entry.name.startswith('.' if name is None else f'.{name}.')
        if ours and entry.name.endswith(SUFFIX) and entry.is_dir(follow_symlinks=False):
            lock = _lock(Path(entry.path), wait=False)
            if lock is None:
                continue
            shutil.rmtree(entry.path, ignore_errors=True)
            os.close(lock)
            removed.append(Path(entry.path))
    return removed


@contextmanager
def own_folder(path: Path) -> Iterator[Path]:
    """A locked temporary folder beside `path`, gone at the end."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f'.{path.name}.', suffix=SUFFIX))
        lock = _lock(folder, wait=True)
        if folder.exists():
            break
        # Between making and locking it, another writer took it for a leftover.
        if lock is not None:
            os.close(lock)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _lock(folder: Path, *, wait: bool) -> int | None:
    """Lock a folder until the process ends or closes the descriptor; None where that fails."""
    if os.name != 'posix':
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # somebody writes there, or a file system without locks
        os.close(descriptor)
        return None
    return descriptor


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    if os.name != 'posix' and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == 'posix' else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
