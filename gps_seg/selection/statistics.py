"""Where selected entries lie, and what several selections share."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from gps_seg.selection.selection import Entries, Selection


def block_of(name: str) -> str:
    """The block that a parameter belongs to: the innermost numbered part that holds layers.

    A number that names a layer itself, as in a neck of layers, makes no block. If there is no
    block, the first two parts of the layer's name.

    >>> block_of('image_encoder.blocks.11.attn.qkv.weight')
    'image_encoder.blocks.11'
    >>> block_of('layers.2.blocks.5.mlp.fc1.weight')
    'layers.2.blocks.5'
    >>> block_of('mask_decoder.iou_token.weight')
    'mask_decoder.iou_token'
    """
    numbered = re.match(r'((?:.*\.)?\d+)\.(?:[^.]+\.|(?!weight$|bias$))', name)
    return numbered[1] if numbered else '.'.join(name.split('.')[:-1][:2]) or name


def layer_of(name: str) -> str:
    """The layer of a parameter within its block: `attn.qkv` of `blocks.3.attn.qkv.weight`."""
    within = name.removeprefix(block_of(name)).strip('.')
    return within.rpartition('.')[0] or block_of(name).rpartition('.')[2]


@dataclass(frozen=True)
class EntryCounts:
    """Entries of a part of a network.

    selected: how many are selected. size: how many the weights of that part have.
    """

    selected: int
    size: int

    @classmethod
    def of(cls, entries: Entries) -> 'EntryCounts':
        return cls(entries.num, entries.num_neurons * entries.num_inputs)

    def __add__(self, other: 'EntryCounts') -> 'EntryCounts':
        return EntryCounts(self.selected + other.selected, self.size + other.size)

    @property
    def share(self) -> float:
        """Selected share of the part's entries, in [0, 1]."""
        return self.selected / self.size if self.size else 0.0


def counts_by_weight(selection: Selection) -> dict[str, EntryCounts]:
    """Counts of every weight, in the order of the network."""
    return {name: EntryCounts.of(entries) for name, entries in selection.items()}


def counts_by_block(selection: Selection) -> dict[str, EntryCounts]:
    """Counts of every block, in the order of the network (GPS, arXiv:2312.10136, Fig. 9)."""
    by_block: dict[str, EntryCounts] = defaultdict(lambda: EntryCounts(0, 0))
    for name, counts in counts_by_weight(selection).items():
        by_block[block_of(name)] += counts
    return dict(by_block)


def top_blocks_share(selection: Selection, *, num: int = 2) -> float:
    """Share of the selected entries that lies in the last numbered blocks, in [0, 1].

    num: how many blocks count as the top. Blocks are those of the longest numbered row of the
    network, so that a decoder or a neck behind the encoder is none.
    """
    blocks = counts_by_block(selection)
    rows: dict[str, list[str]] = defaultdict(list)
    for block in blocks:
        if re.search(r'\.\d+$', block):
            rows[re.sub(r'\d+', '*', block)].append(block)
    if not rows or not selection.num_entries:
        return 0.0
    top = max(rows.values(), key=len)[-num:]
    return sum(blocks[block].selected for block in top) / selection.num_entries


@dataclass(frozen=True)
class Shared:
    """How many entries several selections have in common, as in Fig. 12 of GPS (arXiv:2312.10136).

    by_all: entries that all of them select.
    by_some: entries that more than one select, but not all.
    own: for each selection, the entries that no other has.
    """

    by_all: int
    by_some: int
    own: tuple[int, ...]

    @property
    def union(self) -> int:
        """Entries that any of them selects."""
        return self.by_all + self.by_some + sum(self.own)

    def __add__(self, other: 'Shared') -> 'Shared':
        own = tuple(a + b for a, b in zip(self.own, other.own, strict=True))
        return Shared(self.by_all + other.by_all, self.by_some + other.by_some, own)


def shared_by_block(selections: Sequence[Selection]) -> dict[str, Shared]:
    """What two or more selections over the same model share, by block.

    Raises ValueError for fewer than two, or if a weight differs in shape.
    """
    if len(selections) < 2:
        raise ValueError(f'{len(selections)} selection to compare; give at least two')
    none = Shared(0, 0, (0,) * len(selections))
    by_block: dict[str, Shared] = defaultdict(lambda: none)
    for name in _in_order(selections):
        by_block[block_of(name)] += _shared_entries(name, selections)
    return dict(by_block)


def total_shared(by_block: Mapping[str, Shared]) -> Shared:
    """The sum over all blocks."""
    first, *others = by_block.values()
    for other in others:
        first = first + other
    return first


def pairwise_overlap(selections: Sequence[Selection]) -> list[list[float]]:
    """Jaccard index of each pair, in [0, 1]: a symmetric table with ones on its diagonal."""
    return [[one.overlap(other) for other in selections] for one in selections]


def _in_order(selections: Sequence[Selection]) -> list[str]:
    """All weights in the order of the network, though each selection may lack some of them."""
    names: list[str] = []
    for selection in selections:
        place = 0
        for name in selection:
            if name in names:
                place = names.index(name)
            else:
                names.insert(place, name)
            place += 1
    return names


def _shared_entries(name: str, selections: Sequence[Selection]) -> Shared:
    holders = [selection.get(name) for selection in selections]
    shapes = {entries.shape for entries in holders if entries is not None}
    if len(shapes) > 1:
        raise ValueError(
            f'{name} has the shapes {sorted(shapes)} in the selections; those of different models '
            'do not compare'
        )
    places = [
        torch.zeros(0, dtype=torch.int64) if e is None else e.storage_index() for e in holders
    ]
    _, place, times = torch.cat(places).unique(return_inverse=True, return_counts=True)
    only_here = (times == 1)[place].split([len(p) for p in places])
    own = tuple(int(mask.sum()) for mask in only_here)
    by_all = int((times == len(selections)).sum())
    return Shared(by_all, len(times) - by_all - sum(own), own)
