"""A delta, a plan and a checkpoint to damage, and the edits that nobody can notice."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gps_seg.delta import Delta
from gps_seg.files import SEALED, seal
from gps_seg.runner.checkpoints import read_checkpoint
from gps_seg.selection import Entries, Selection


@dataclass(frozen=True)
class Kind:
    """A kind of file: how one is written, and how it is read."""

    name: str
    write: Callable[[Path], object]
    read: Callable[[Path], object]


def _selection() -> Selection:
    columns = torch.arange(9) % 40
    entries = Entries(columns, torch.ones(9, dtype=torch.int64), (9, 40))
    uneven = Entries(torch.tensor([1, 3, 2]), torch.tensor([2, 0, 1]), (3, 5))
    return Selection({'wide.weight': entries, 'uneven.weight': uneven}, {'criterion': 'random'})


def _write_delta(path: Path) -> None:
    state = {
        'wide.weight': torch.randn(9, 40),
        'uneven.weight': torch.randn(3, 5),
        'bias': torch.randn(9),
        'head': torch.randn(2, 2).bfloat16(),
    }
    metadata = {'method': 'gps', 'config': 'a = 1\nb = "ü"'}
    delta = Delta.of(state, _selection(), ['bias'], base='ab', fresh=['head'], metadata=metadata)
    delta.save(path)


def _write_checkpoint(path: Path) -> None:
    content: dict[str, Any] = {
        'meta': {'epoch': 3, 'cfg': 'a = 1'},
        'state_dict': {'weight': torch.randn(7, 5), 'bias': torch.randn(5)},
        'optimizer': {'state': {0: {'step': torch.tensor(3.0)}}, 'param_groups': [{'lr': 1e-3}]},
        SEALED: True,
    }
    torch.save(content, path)
    seal(path)


KINDS = (
    Kind('delta.safetensors', _write_delta, Delta.load),
    Kind('plan.safetensors', lambda path: _selection().save(path), Selection.load),
    Kind('last.pth', _write_checkpoint, read_checkpoint),
)


def edits(content: bytes, num: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """Random one-byte edits: the place, and the content with another byte there."""
    generator = np.random.default_rng(seed)
    for place, step in zip(
        generator.integers(len(content), size=num),
        generator.integers(1, 256, size=num),
        strict=True,
    ):
        changed = bytearray(content)
        changed[place] = (changed[place] + int(step)) % 256
        yield int(place), bytes(changed)


def is_unread(name: str, content: bytes, place: int, changed: bytes) -> bool:
    """Whether the edit replaced white space behind a header's JSON by other white space.

    safetensors fills its header up to a multiple of 8 bytes with at most 7 spaces. Nothing else in
    the three kinds of files is read by nobody; of a sealed checkpoint every byte counts.
    """
    if not name.endswith('.safetensors'):
        return False
    end = 8 + int.from_bytes(content[:8], 'little')
    filled_from = len(content[:end].rstrip(b' '))
    return filled_from <= place < end and changed[place] in b' \t\n\r'


def refused(kind: Kind, path: Path) -> bool:
    """Whether reading raises one ValueError, of one line that names the file."""
    try:
        kind.read(path)
    except ValueError as error:
        message = str(error)
    else:
        return False
    assert '\n' not in message, message
    assert path.name in message, message
    return True
