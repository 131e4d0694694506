"""Where the bytes of a delta file are."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from gps_seg.delta.delta import Delta
from gps_seg.delta.storage import as_stored

# Eight bytes at the start of a safetensors file say how long its header is.
LENGTH = 8
# The entries of the header that tell of the training rather than of the tensors.
DESCRIPTION = ('metadata', 'provenance')


@dataclass
class Block:
    """What a delta holds of one block of the model.

    selected, whole: entries. columns, values, whole_bytes: bytes in the file.
    """

    selected: int = 0
    whole: int = 0
    columns: int = 0
    values: int = 0
    whole_bytes: int = 0

    @property
    def num_bytes(self) -> int:
        return self.columns + self.values + self.whole_bytes


def blocks(delta: Delta, block_of: Callable[[str], str]) -> dict[str, Block]:
    """Sizes by block, in the precision of the file. block_of: the block of a tensor's name."""
    sizes: dict[str, Block] = defaultdict(Block)
    columns, _ = delta.selection.tensors()
    for key, tensor in columns.items():
        sizes[block_of(key.rpartition('/')[0])].columns += tensor.nbytes
    for name, values in delta.values.items():
        sizes[block_of(name)].selected += values.numel()
        sizes[block_of(name)].values += as_stored(values, delta.stored).nbytes
    for name, tensor in delta.whole.items():
        sizes[block_of(name)].whole += tensor.numel()
        sizes[block_of(name)].whole_bytes += as_stored(tensor, delta.stored).nbytes
    return dict(sizes)


def total(sizes: Iterable[Block]) -> Block:
    """The sums over blocks."""
    every = list(sizes)
    return Block(*(sum(getattr(size, part.name) for size in every) for part in fields(Block)))


def header_bytes(path: str | Path) -> tuple[int, int]:
    """Bytes of a safetensors file before its tensors: what describes these, and the training.

    The first are names, shapes, places and digests; the second the config and what else the
    metadata hold.
    """
    with open(path, 'rb') as file:
        length = int.from_bytes(file.read(LENGTH), 'little')
        header = json.loads(file.read(length))
    metadata = header.get('__metadata__', {})
    told = sum(
        len(json.dumps(metadata[key], ensure_ascii=False).encode())
        for key in DESCRIPTION
        if key in metadata
    )
    return LENGTH + length - told, told
