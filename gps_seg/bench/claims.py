"""Who works on a cell: one claim file, safe on network file systems.

A claim is made by linking a finished file to its place, which only one of several processes can do.
The claims of a cell are numbered; the highest number counts. The claim of a dead worker stays where
it is, and the next number takes over from it, so that nothing is ever renamed or removed under
somebody who is alive.
"""

import json
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gps_seg.files import is_here, is_running, this_process

# A worker touches its claim; whoever has not for this long is taken for dead. Seconds.
BEAT, SILENCE = 15.0, 300.0


@dataclass(frozen=True)
class Claim:
    """A claim on a cell's folder by this process."""

    folder: Path
    number: int

    @property
    def path(self) -> Path:
        return self.folder / f'claim-{self.number}.json'

    def beat(self) -> None:
        """Show that this worker is alive."""
        os.utime(self.path)

    def holds(self) -> bool:
        """Whether nobody has taken over in the meantime."""
        return _highest(self.folder) == self.number

    def release(self) -> None:
        """Give the cell back to be claimed at once."""
        _write(self.path, {**_read(self.path), 'released': True})


def claim(folder: Path) -> Claim | None:
    """Claim a cell, or take over from a dead worker; None where somebody is at work."""
    folder.mkdir(parents=True, exist_ok=True)
    number = _highest(folder)
    if number and is_alive(folder / f'claim-{number}.json'):
        return None
    mine = Claim(folder, number + 1)
    return mine if _link(mine.path, this_process()) else None


def is_claimed(folder: Path) -> bool:
    """Whether a living worker holds the cell."""
    number = _highest(folder)
    return bool(number) and is_alive(folder / f'claim-{number}.json')


def num_claims(folder: Path) -> int:
    """How many times the cell was claimed: once and each time that it was taken over."""
    return _highest(folder)


def is_alive(path: Path) -> bool:
    """Whether the worker of a claim is alive, as far as this machine can tell.

    On this machine the process itself tells; on another one its last beat.
    """
    try:
        about, age = _read(path), time.time() - path.stat().st_mtime
    except (OSError, ValueError):
        return False
    if about.get('released'):
        return False
    return is_running(about) if is_here(about) else age < SILENCE


def write_once(path: Path, content: dict[str, Any]) -> bool:
    """Write a JSON file that must not be there yet. Returns whether it was this call's."""
    return _link(path, content)


def _highest(folder: Path) -> int:
    numbers = [path.stem.partition('-')[2] for path in folder.glob('claim-*.json')]
    return max((int(number) for number in numbers if number.isdigit()), default=0)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding='utf-8'))


def _write(path: Path, content: dict[str, Any]) -> None:
    temporary = _temporary(path, content)
    os.replace(temporary, path)


def _link(path: Path, content: dict[str, Any]) -> bool:
    temporary = _temporary(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def _temporary(path: Path, content: dict[str, Any]) -> Path:
    temporary = path.with_name(f'.{path.name}.{uuid.uuid4().hex}.tmp')
    with temporary.open('w', encoding='utf-8') as file:
        file.write(json.dumps(content, indent=2) + '\n')
        file.flush()
        os.fsync(file.fileno())
    return temporary
