"""A digest inside a file of `torch.save`, over all the rest of the file.

It stands in the comment at the end of the zip archive, which every reader of zip files knows and
skips: sealed files load with plain `torch.load`.
"""

import hashlib
from pathlib import Path
from typing import BinaryIO

# What a zip file without a comment ends with: 18 bytes and the length of the comment.
END = b'PK\x05\x06'
END_SIZE = 22
MARK = b'gps_seg sha256 '
DIGITS = 64


def seal(path: str | Path) -> None:
    """Write the digest into a file that `torch.save` has just written, in place."""
    with open(path, 'r+b') as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - END_SIZE))
        end = file.read()
        if end[:4] != END or end[-2:] != b'\0\0':
            raise ValueError(f'{path} does not end as a file of torch.save does; it was not sealed')
        file.seek(size - 2)
        file.write((len(MARK) + DIGITS).to_bytes(2, 'little') + MARK)
        digest = _digest(file, size + len(MARK))
        file.write(digest)


def is_sealed(path: str | Path) -> bool:
    """Whether the file carries a digest. Raises ValueError where it is not the file's."""
    with open(path, 'rb') as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - len(MARK) - DIGITS))
        seal = file.read()
        if seal[: len(MARK)] != MARK:
            return False
        if _digest(file, size - DIGITS) != seal[len(MARK) :]:
            raise ValueError(
                f'{path} is damaged: its digest is of other bytes; fetch or write it again'
            )
    return True


def _digest(file: BinaryIO, size: int) -> bytes:
    """Of the first `size` bytes; leaves the file at their end."""
    digest = hashlib.sha256()
    file.seek(0)
    while file.tell() < size:
        block = file.read(min(1 << 20, size - file.tell()))
        if not block:  # shortened by somebody else meanwhile
            break
        digest.update(block)
    return digest.hexdigest().encode()
