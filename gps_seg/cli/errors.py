"""How commands report what the user can put right."""

import errno
import functools
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence

from gps_seg.files import NotWritten

TRACEBACK = 'GPS_SEG_TRACEBACK'
USER_ERRORS = (
    ValueError,
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    NotWritten,
    # Raised by nothing but FiniteHook: the training left the range of the numbers.
    FloatingPointError,
)
# System errors that are no fault of the program: a full disk, a quota, a read-only place.
USER_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)
UNKNOWN_SETTING = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")

Main = Callable[[Sequence[str] | None], int]


def one_line_errors(main: Main) -> Callable[..., int]:
    """Let a command print a user error as one line on stderr and return 2, without a traceback.

    `GPS_SEG_TRACEBACK=1` in the environment shows the traceback instead. Every other exception is
    a bug and passes through.
    """

    @functools.wraps(main)
    def wrapper(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except TypeError as error:
            setting = unknown_setting(error)
            if setting is None or os.environ.get(TRACEBACK):
                raise
            print(f'error: {setting}', file=sys.stderr)
            return 2
        except (*USER_ERRORS, OSError) as error:
            known = isinstance(error, USER_ERRORS) or getattr(error, 'errno', None) in USER_NUMBERS
            if not known or os.environ.get(TRACEBACK):
                raise
            print(f'error: {one_line(error)}', file=sys.stderr)
            return 2

    return wrapper


def one_line(error: Exception) -> str:
    """The message of an exception, on one line and without the number of a system error."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f': {error.filename}' if error.filename is not None else '')
    return ' '.join(str(error).split()) or type(error).__name__


def unknown_setting(error: TypeError) -> str | None:
    """What to say where a config gives a class a setting that it does not have; otherwise None."""
    wrong = UNKNOWN_SETTING.search(str(error))
    built = any(f.name == 'build_from_cfg' for f in traceback.extract_tb(error.__traceback__))
    if wrong is None or not built:
        return None
    return f'the config gives {wrong[1]} the setting {wrong[2]!r}, which it does not have'
