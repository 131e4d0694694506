"""How commands report what the user can put right, and how they end when they are stopped."""

import builtins
import errno
import functools
import os
import re
import select
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from gps_seg.cli.data_workers import died, original_message
from gps_seg.cli.stopping import Terminated, report_stop, stoppable
from gps_seg.files import NotWritten, folders_released

TRACEBACK = 'GPS_SEG_TRACEBACK'
DEBUG = '--debug'
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
READER_GONE = 128 + 13  # as of a program that SIGPIPE ended
UNKNOWN_SETTING = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")

Main = Callable[[Sequence[str] | None], int]


def one_line_errors(main: Main) -> Callable[..., int]:
    """Let a command print a user error as one line on stderr and return 2, without a traceback.

    Ctrl-C and SIGTERM print one line too and return 130 and 143, a reader that went away (`| head`)
    none and 141; what the command locked is given back. `--debug` anywhere among the arguments, or
    `GPS_SEG_TRACEBACK=1` in the environment, shows the traceback of an error instead. Every other
    exception is a bug and passes through.
    """

    @functools.wraps(main)
    def wrapper(argv: Sequence[str] | None = None) -> int:
        with _debugging(argv) as arguments, stoppable() as stop, folders_released():
            try:
                code = main(arguments)
                sys.stdout.flush()
                return code
            except (KeyboardInterrupt, Terminated) as cause:
                return report_stop(cause)
            except Exception as error:
                if stop.cause is not None:  # what became of it in code that catches everything
                    return report_stop(stop.cause)
                if isinstance(error, BrokenPipeError) and _reader_is_gone():
                    return READER_GONE
                message = user_message(error)
                if message is None or os.environ.get(TRACEBACK):
                    raise
                print(f'error: {message}', file=sys.stderr)
                return 2

    return wrapper


def _reader_is_gone() -> bool:
    """Whether nobody reads what is printed any more, as after `| head`; then nothing more is."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # no file of the system
        return False
    state = select.poll()
    state.register(descriptor, select.POLLOUT)
    gone = any(event & select.POLLERR for _, event in state.poll(0))
    if gone:
        # Otherwise Python would flush what is left at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    return gone


def user_message(error: Exception) -> str | None:
    """What to tell the user of an exception, in one line; None for a bug of the program."""
    in_worker = original_message(error)
    if in_worker is not None:
        name, message = in_worker
        kind = getattr(builtins, name, None)
        known = isinstance(kind, type) and issubclass(kind, USER_ERRORS)
        text = ' '.join(message.split())
        return text if known and text else f'in a data worker: {name}: {text} ({DEBUG} shows where)'
    if died(error):
        return (
            f'{one_line(error).rstrip(". ")}: the system may have ended it for want of memory; '
            'lower num_workers or batch_size of the data loader, or run with num_workers=0 and '
            'persistent_workers=False to see an error of its own'
        )
    if isinstance(error, TypeError):
        return unknown_setting(error)
    known = isinstance(error, USER_ERRORS) or getattr(error, 'errno', None) in USER_NUMBERS
    return one_line(error) if known else None


@contextmanager
def _debugging(argv: Sequence[str] | None) -> Iterator[Sequence[str] | None]:
    """The arguments without `--debug`, which shows tracebacks until the end of the command."""
    given = sys.argv[1:] if argv is None else argv
    if DEBUG not in given:
        yield argv
        return
    before = os.environ.get(TRACEBACK)
    os.environ[TRACEBACK] = '1'
    try:
        yield [argument for argument in given if argument != DEBUG]
    finally:
        if before is None:
            del os.environ[TRACEBACK]
        else:
            os.environ[TRACEBACK] = before


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
