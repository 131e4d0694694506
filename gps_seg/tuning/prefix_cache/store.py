"""Features on the disk: files that only grow, records with digests, and nothing read unchecked.

Each process appends to a file of its own, so that any number of them fill one cache. A record is
the key of its image, a digest of key and content, and the content. A record that was cut off by a
kill, or that the disk has changed since, does not have its digest and counts as absent.
"""

import hashlib
import mmap
import os
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gps_seg.files.errors import explained_write

if os.name == 'posix':
    import fcntl

DIGEST = 32
HEADER = 2 * DIGEST
SUFFIX = '.features'


class Store:
    """The records of one prefix.

    folder: made where it is missing. content: bytes of each record's content.
    """

    def __init__(self, folder: Path, content: int) -> None:
        self.folder = folder
        self.content = content
        self.record = HEADER + content
        # Where each key stands; several places where a damaged record was written again.
        self._places: dict[bytes, list[tuple[str, int]]] = {}
        self._scanned: dict[str, int] = {}
        self._maps: dict[str, mmap.mmap] = {}
        self._own: tuple[int, Path] | None = None
        with explained_write(folder):
            (folder / 'claims').mkdir(parents=True, exist_ok=True)
        self.refresh()

    def refresh(self) -> None:
        """See what other processes have written."""
        for path in sorted(self.folder.glob(f'*{SUFFIX}')):
            begin = self._scanned.get(path.name, 0)
            with open(path, 'rb') as file:
                whole = os.fstat(file.fileno()).st_size // self.record * self.record
                for place in range(begin, whole, self.record):
                    file.seek(place)
                    self._places.setdefault(file.read(DIGEST), []).append((path.name, place))
                self._scanned[path.name] = max(begin, whole)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(path.stat().st_size for path in self.folder.glob(f'*{SUFFIX}'))

    def read(self, key: bytes) -> bytearray | None:
        """The content of a key, in memory of its own; None where there is no whole record."""
        for name, place in self._places.get(key, ()):
            found = self._bytes(name, place)
            if found is None or found[:DIGEST] != key:
                continue
            content = found[HEADER:]
            if found[DIGEST:HEADER] == _digest(key, content):
                return content
        return None

    def is_damaged(self, key: bytes) -> bool:
        """Whether there was a record of the key, none of which is whole any more."""
        return key in self._places and self.read(key) is None

    def append(self, key: bytes, content: bytes) -> None:
        """Write a record. Raises NotWritten, with nothing half-written, where the disk is full."""
        assert len(content) == self.content
        descriptor, path = self._own or self._make_own()
        begin = os.lseek(descriptor, 0, os.SEEK_END)
        left = memoryview(key + _digest(key, content) + content)
        with explained_write(path):
            try:
                while left:
                    left = left[os.write(descriptor, left) :]
            except BaseException:
                os.ftruncate(descriptor, begin)
                raise
        self._places.setdefault(key, []).append((path.name, begin))
        self._scanned[path.name] = begin + self.record

    def _make_own(self) -> tuple[int, Path]:
        path = self.folder / f'{uuid.uuid4().hex[:16]}{SUFFIX}'
        with explained_write(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        self._own = descriptor, path
        return self._own

    def _bytes(self, name: str, place: int) -> bytearray | None:
        end = place + self.record
        path = self.folder / name
        # A file that somebody cut off would end the process when its lost pages are touched.
        if not path.is_file() or path.stat().st_size < end:
            return None
        if len(self._maps.get(name, b'')) < end:
            if name in self._maps:
                self._maps.pop(name).close()
            with open(path, 'rb') as file:
                self._maps[name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return bytearray(self._maps[name][place:end])

    @contextmanager
    def claim(self, keys: Sequence[bytes], *, wait: bool) -> Iterator[bool]:
        """Whether this process, and no other, computes these images now.

        A claim goes with its process, however that ends. On a file system without locks everybody
        gets it, and some images are computed twice.
        """
        if os.name != 'posix':
            yield True
            return
        path = self.folder / 'claims' / hashlib.sha256(b''.join(keys)).hexdigest()[:32]
        with explained_write(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            except OSError:  # no locks here
                pass
            yield True
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def finish(self) -> None:
        """Bring what was written to the disk."""
        if self._own is not None:
            with explained_write(self._own[1]):
                os.fsync(self._own[0])
            os.close(self._own[0])
            self._own = None

    def close(self) -> None:
        """Give back files and memory; reading opens them again."""
        self.finish()
        for opened in self._maps.values():
            opened.close()
        self._maps.clear()

    def absent(self, keys: Collection[bytes]) -> list[bytes]:
        """The keys without a whole record, each read and checked."""
        return [key for key in keys if self.read(key) is None]


def _digest(key: bytes, content: bytes | bytearray) -> bytes:
    return hashlib.sha256(key + content).digest()
