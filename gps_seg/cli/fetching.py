"""Fetch one file over HTTP: what has arrived is kept, and the next call goes on from there."""

import errno
import hashlib
import http.client
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import gps_seg

_CHUNK = 2**18
_SPARE = 2**26  # bytes to leave free on the disk

# Called with the bytes that are there and the bytes to expect, if known.
Report = Callable[[int, int | None], None]


class DownloadError(Exception):
    """A file did not arrive whole, or is not what was published."""


@dataclass(frozen=True)
class _Answer:
    """What a server is about to send: the bytes from `start` on, of `total` if it says so."""

    body: http.client.HTTPResponse
    start: int
    total: int | None


def fetch(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    timeout: float = 30,
    report: Report = lambda done, total: None,
) -> Path:
    """Fetch a URL into `target` + '.part' and return that path, complete but not verified.

    A partial file of an earlier call is continued where the server allows it (HTTP Range), else
    fetched anew. size: in bytes, if known; a server that announces another one is not read from.
    timeout: seconds without an answer.

    Raises DownloadError with the cause; the partial file stays. ValueError for a URL that is not
    http or https.
    """
    if urllib.parse.urlsplit(url).scheme not in ('http', 'https'):
        raise ValueError(f'{url} is not a URL of http or https')
    part = part_of(target)
    part.parent.mkdir(parents=True, exist_ok=True)
    done = part.stat().st_size if part.is_file() else 0
    if done and done == size:
        return part
    try:
        answer = _open(url, done, timeout)
        if answer is not None:
            with answer.body:
                _check_answer(answer, part, size)
                _write(answer, part, report)
    except (PermissionError, IsADirectoryError):
        raise  # of the partial file: names it itself
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(_cause(error)) from error
    return part


def part_of(target: Path) -> Path:
    """Where what has arrived of a file waits until it is complete."""
    return target.with_name(f'{target.name}.part')


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _open(url: str, start: int, timeout: float) -> _Answer | None:
    """Ask for the bytes from `start` on; None where the file ends there."""
    headers = {
        'User-Agent': f'gps-seg/{gps_seg.__version__}',  # some servers refuse urllib's own
        'Accept-Encoding': 'identity',  # sizes and ranges are those of the file
    }
    if start:
        headers['Range'] = f'bytes={start}-'
    request = urllib.request.Request(url, headers=headers)
    try:
        body = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if not start or error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            if error.headers.get('Content-Range') == f'bytes */{start}':
                return None
        return _open(url, 0, timeout)  # the server's file is shorter: not the one that was begun
    if start and body.status == http.HTTPStatus.PARTIAL_CONTENT:
        given = body.headers.get('Content-Range', '')
        found = re.fullmatch(r'bytes (\d+)-\d+/(\d+|\*)', given)
        if found is None or int(found[1]) != start:
            body.close()
            raise DownloadError(f'asked for the bytes from {start} on, the server sent {given!r}')
        return _Answer(body, start, None if found[2] == '*' else int(found[2]))
    length = body.headers.get('Content-Length')
    return _Answer(body, 0, int(length) if length is not None else None)


def _check_answer(answer: _Answer, part: Path, size: int | None) -> None:
    if size is not None and answer.total not in (None, size):
        raise DownloadError(
            f'the server offers {answer.total:,} bytes where {size:,} were published'
        )
    if answer.total is not None:
        # Starting anew frees what the partial file holds.
        held = part.stat().st_size if part.is_file() and not answer.start else 0
        free = shutil.disk_usage(part.parent).free + held
        missing = answer.total - answer.start
        if missing + _SPARE > free:
            raise DownloadError(
                f'{part.parent} has {free / 1e9:.1f} GB free, {(missing + _SPARE) / 1e9:.1f} GB '
                'are needed'
            )


def _write(answer: _Answer, part: Path, report: Report) -> None:
    done = answer.start
    file: BinaryIO
    with part.open('ab' if answer.start else 'wb') as file:
        report(done, answer.total)
        while chunk := answer.body.read(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            report(done, answer.total)
    if answer.total is not None and done != answer.total:
        raise DownloadError(f'the connection ended after {done:,} of {answer.total:,} bytes')


def _cause(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f'the server answered {error.code} {error.reason}'
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return 'the disk is full'
    if isinstance(error, urllib.error.URLError):
        return f'no connection ({error.reason})'
    return f'the connection failed ({error or type(error).__name__})'
