"""How commands report what the user can put right."""

import functools
import os
import sys
from collections.abc import Callable, Sequence

TRACEBACK = 'GPS_SEG_TRACEBACK'
USER_ERRORS = (
    ValueError,
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    # Raised by nothing but FiniteHook: the training left the range of the numbers.
    FloatingPointError,
)

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
        except USER_ERRORS as error:
            if os.environ.get(TRACEBACK):
                raise
            print(f'error: {one_line(error)}', file=sys.stderr)
            return 2

    return wrapper


def one_line(error: Exception) -> str:
    """The message of an exception, on one line and without the number of a system error."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f'{error.strerror}: {error.filename}'
    return ' '.join(str(error).split()) or type(error).__name__
