"""What decoders warn of, collected by file instead of being lost on stderr."""

import atexit
import contextlib
import hashlib
import logging
import os
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

# Of C libraries, at the start of what they write. Other lines are of somebody else.
DECODERS = (
    '[ error:',
    '[ warn:',
    'corrupt jpeg',
    'extraneous bytes',
    'invalid sos',
    'libjpeg',
    'libpng',
    'premature end',
    'tiff',
    'unsupported marker',
    'warning: unknown jfif',
)
# About colours of a screen, which no pixel value depends on here.
HARMLESS = ('iccp', 'srgb', 'known incorrect srgb', 'gama', 'chrm')
FOLDER = 'GPS_SEG_NOTED'

Result = TypeVar('Result')


class _Stderr:
    """The stderr of this process, turned into a file while decoders work.

    Threads decode side by side. What is written while several do cannot be told apart, so a thread
    during whose work something was written then decodes once more, alone.
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        self.turn = threading.Condition()
        self.active = self.entered = 0
        self.exclusive = False
        file, path = tempfile.mkstemp(prefix='gps_seg-stderr-')
        os.close(file)
        # Appended to, so that what is written after it was emptied starts at its beginning.
        self.file = os.open(path, os.O_RDWR | os.O_APPEND)
        os.unlink(path)
        self.true = -1

    def work(self, decode: Callable[[], Result], *, alone: bool) -> tuple[Result, list[str] | None]:
        """Decode. Returns the result and the lines; None where they may be another thread's."""
        with self.turn:
            self.turn.wait_for(lambda: not self.exclusive and not (alone and self.active))
            self.exclusive = alone
            first = not self.active
            self.active += 1
            self.entered += 1
            number = self.entered
            if first:
                # Asked for each time: somebody else may have turned it elsewhere meanwhile.
                self.true = os.dup(2)
                os.dup2(self.file, 2)
            before = os.fstat(self.file).st_size
        try:
            result = decode()
        finally:
            with self.turn:
                wrote = os.fstat(self.file).st_size > before
                undisturbed = first and number == self.entered
                self.active -= 1
                lines = [] if self.active else self._restore()
                if alone:
                    self.exclusive = False
                self.turn.notify_all()
        if undisturbed:
            return result, lines
        # Whoever leaves last takes the lines of all from the file: they are not its own.
        return result, None if wrote else []

    def _restore(self) -> list[str]:
        os.dup2(self.true, 2)
        os.close(self.true)
        size = os.fstat(self.file).st_size
        if not size:
            return []
        content = os.pread(self.file, size, 0)
        os.ftruncate(self.file, 0)
        lines = content.decode('utf-8', 'replace').splitlines()
        others = [line for line in lines if not line.lower().startswith(DECODERS)]
        if others:
            os.write(2, ('\n'.join(others) + '\n').encode())
        return [line.strip() for line in lines if line not in others]


_stderrs: list[_Stderr] = []


def noting_stderr(decode: Callable[[], Result]) -> tuple[Result, tuple[str, ...]]:
    """Run a decoder. Returns its result and the lines that its C code wrote to stderr.

    Lines that are no decoder's go on to stderr. It costs some microseconds. Neither colour profiles
    nor gamma are reported: no pixel value depends on them here.
    """
    # A forked worker has a file of its own: that of its parent would mix the lines of all.
    if not _stderrs or _stderrs[0].process != os.getpid():
        _stderrs[:] = [_Stderr()]
    result, lines = _stderrs[0].work(decode, alone=False)
    if lines is None:
        result, lines = _stderrs[0].work(decode, alone=True)
    kept = (line for line in lines or () if not any(word in line.lower() for word in HARMLESS))
    return result, tuple(kept)


class _Collector(logging.Handler):
    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        self.notes.append(record.getMessage())


@contextlib.contextmanager
def noting_python(notes: list[str], logger: str = '') -> Iterator[None]:
    """Collect Python warnings, and what `logger` warns of."""
    log = logging.getLogger(logger) if logger else None
    collector = _Collector(notes)
    before = log.propagate if log else True
    if log:
        log.addHandler(collector)
        log.propagate = False
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            yield
        notes.extend(' '.join(str(warning.message).split()) for warning in caught)
    finally:
        if log:
            log.removeHandler(collector)
            log.propagate = before


def report(path: str | Path, notes: tuple[str, ...], *, strict: bool = False) -> None:
    """Say once on stderr what the decoder of a file warned of, whichever worker reads it first.

    strict: raise ValueError instead.
    """
    text = '; '.join(dict.fromkeys(notes))
    if strict:
        raise ValueError(f'{path}: its decoder warns: {text}; save the file again, or replace it')
    if _is_first(f'{path}\0{text}'):
        print(f'warning: {path}: {text}', file=sys.stderr, flush=True)


def share_reports() -> None:
    """Let this process and the workers that it starts report each file once in all."""
    if FOLDER not in os.environ:
        folder = tempfile.mkdtemp(prefix='gps_seg-noted-')
        os.environ[FOLDER] = folder
        atexit.register(_forget, folder, os.getpid())


def _forget(folder: str, process: int) -> None:
    # Forked workers inherit the duty, but must not fulfil it.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _is_first(text: str) -> bool:
    share_reports()
    marker = Path(os.environ[FOLDER], hashlib.sha256(text.encode()).hexdigest())
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # the folder is gone: better twice than never
        return True
    return True
