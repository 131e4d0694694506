"""One process at a time writes in a folder.

The lock is a lock of the operating system on a file, which goes with its process however that ends;
the file says who holds it. What stays in the file after a kill is taken over. On a file system
without locks the file alone decides: then a process of this machine is asked for, and one of
another machine is believed.
"""

import atexit
import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gps_seg.files.errors import explained_write
from gps_seg.files.processes import is_here, is_running, this_process

if os.name == 'posix':
    import fcntl

LOCK = 'run.lock'
# Between taking a lock and saying whose it is, its holder needs a moment. Seconds.
PATIENCE = 1.0


class FolderInUse(FileExistsError):
    """Another process writes in the folder; the message names it and what to do."""


@dataclass(frozen=True)
class _Held:
    descriptor: int | None
    made_folder: bool


_held: dict[Path, _Held] = {}


def lock_folder(folder: str | Path) -> None:
    """Let this process alone write in a folder, until it ends or `release_folders`.

    The folder is made. A folder that this process holds already stays locked. Raises FolderInUse
    where another process holds it, NotWritten where it must not be written.
    """
    folder = Path(folder)
    path = folder.resolve() / LOCK
    if path in _held:
        return
    made = not folder.exists()
    with explained_write(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with explained_write(folder / LOCK):
        _held[path] = _Held(_take(path, folder), made)


def release_folders(kept: frozenset[Path] = frozenset()) -> None:
    """Give back what this process has locked, but for the lock files in `kept`."""
    for path in [path for path in _held if path not in kept]:
        held = _held.pop(path)
        path.unlink(missing_ok=True)
        if held.descriptor is not None:
            os.close(held.descriptor)
        if held.made_folder:
            _remove_if_empty(path.parent)


@contextmanager
def folders_released() -> Iterator[None]:
    """At the end, give back what was locked inside."""
    before = frozenset(_held)
    try:
        yield
    finally:
        release_folders(before)


def _take(path: Path, folder: Path) -> int | None:
    """Lock the file and write this process into it. Returns what holds the lock, if anything."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            has_locks = _lock(descriptor)
            if has_locks and not _is_at(descriptor, path):
                os.close(descriptor)  # its holder has just removed it
                continue
            owner = _owner(path)
            if owner and not (is_here(owner) and (has_locks or not is_running(owner))):
                raise FolderInUse(_in_words(folder, owner, is_sure=is_here(owner)))
            _write(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            raise FolderInUse(_in_words(folder, _named_owner(path), is_sure=True)) from None
        except BaseException:
            os.close(descriptor)
            raise
        if has_locks:
            return descriptor
        os.close(descriptor)
        return None


def _lock(descriptor: int) -> bool:
    """Whether the system has locked the file. Raises BlockingIOError where somebody else has."""
    if os.name != 'posix':
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            return False
        raise
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _write(descriptor: int) -> None:
    content = {**this_process(), 'since': time.strftime('%Y-%m-%d %H:%M:%S')}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, (json.dumps(content) + '\n').encode(), 0)
    os.fsync(descriptor)


def _owner(path: Path) -> dict[str, Any]:
    """What a lock file says of its holder; nothing where it says nothing that can be read."""
    try:
        owner = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) and isinstance(owner.get('pid'), int) else {}


def _named_owner(path: Path) -> dict[str, Any]:
    end = time.monotonic() + PATIENCE
    while not (owner := _owner(path)) and time.monotonic() < end:
        time.sleep(PATIENCE / 20)
    return owner


def _in_words(folder: Path, owner: dict[str, Any], *, is_sure: bool) -> str:
    who = f'process {owner.get("pid", "?")} on {owner.get("host", "?")}'
    since = f', since {owner.get("since", "?")}'
    if is_sure:
        return (
            f'{folder} is being written by {who}{since}; wait for it, stop it, or choose another '
            'folder'
        )
    return (
        f'{folder} is locked by {who}{since}, which cannot be seen from here; if that process has '
        f'ended, remove {folder / LOCK} and start again, otherwise choose another folder'
    )


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # it holds what the process wrote


def _forget() -> None:
    """In a forked child, which would otherwise hold the lock beyond its parent's end."""
    for held in _held.values():
        if held.descriptor is not None:
            os.close(held.descriptor)
    _held.clear()


atexit.register(release_folders)
if os.name == 'posix':
    os.register_at_fork(after_in_child=_forget)
