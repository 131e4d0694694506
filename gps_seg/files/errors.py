"""Why a file could not be written, and what to do, in one line."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEXT_STEPS = {
    errno.ENOSPC: 'free some space or write to another disk',
    errno.EDQUOT: 'free some space or write to another disk',
    errno.EFBIG: 'raise the limit (ulimit -f) or write to another disk',
    errno.EACCES: 'choose a folder that you may write to',
    errno.EPERM: 'choose a folder that you may write to',
    errno.EROFS: 'choose a folder that you may write to',
    errno.EISDIR: 'name a file, not a folder',
    errno.ENOTDIR: 'a part of the path is a file; choose another folder',
    errno.EEXIST: 'a part of the path is a file; choose another folder',
    errno.ENAMETOOLONG: 'choose a shorter name',
}
# A disk with less room than this counts as full where a library does not say why it failed.
FULL_BELOW = 1 << 20


class NotWritten(OSError):
    """A file was not written; the message is one line that names cause and next step."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(number, message)
        self.message = message

    def __str__(self) -> str:
        return self.message


def one_line(error: Exception, limit: int = 200) -> str:
    """What an exception of a library says, shortened to a part of a line."""
    return ' '.join(repr(error).split())[:limit]


@contextmanager
def explained_write(path: Path) -> Iterator[None]:
    """Raise NotWritten in place of what a system or a library raises where it cannot write."""
    try:
        yield
    except NotWritten:
        raise
    except Exception as error:
        number = _cause(error, path)
        if number is None:
            raise
        kept = 'the old file is as it was' if os.path.isfile(path) else 'nothing was written'
        step = NEXT_STEPS.get(number, 'see to that and run it again')
        raise NotWritten(
            number, f'cannot write {path}: {os.strerror(number)}; {step} ({kept})'
        ) from error


def _cause(error: Exception, path: Path) -> int | None:
    """The number of the system error behind an exception, if there is one."""
    if isinstance(error, IsADirectoryError):
        return errno.EISDIR
    if isinstance(error, OSError):
        return error.errno
    told = re.search(r'\(os error (\d+)\)', str(error))  # as safetensors says it
    if told:
        return int(told[1])
    # torch's writer says only that something failed there.
    if isinstance(error, RuntimeError) and 'inline_container' in str(error):
        folder = next(parent for parent in path.parents if parent.is_dir())
        return errno.ENOSPC if shutil.disk_usage(folder).free < FULL_BELOW else errno.EIO
    return None
