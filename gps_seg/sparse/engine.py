"""How the gradient of the selected entries is computed, and which way is the cheapest.

For a layer that multiplies its weight (neurons, inputs) with N input vectors, the gradient of an
entry is the dot product, over the N, of one column of the output gradient with one column of the
input. Three engines give the same numbers:

    sampled  one dot product per entry (a sampled dense-dense matrix product)
    block    the product of the touched neurons with the touched inputs, then a gather
    dense    the gradient of the whole weight, then a gather: right for any operation

The first two keep only the touched columns of the input for backward.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gps_seg.selection.selection import Entries

ENGINES = ('auto', 'sampled', 'block', 'dense')

# A multiply-add of `sampled` against one of `block`, measured on 2 CPU cores in fp32 for ViT-B's
# layers and batch 4 (docs/benchmarks.md). Each of its dot products runs at a tenth of the speed of
# a matrix product, and turning the output gradient costs as much as one more entry per neuron.
SAMPLED_PRICE = 12


def check_engine(engine: str) -> None:
    """Raise ValueError unless there is such an engine."""
    if engine not in ENGINES:
        raise ValueError(f'engine must be one of {", ".join(ENGINES)}, got {engine!r}')


@dataclass(frozen=True)
class EntryIndex:
    """The selected entries of one matrix, as an engine needs them.

    columns: (touched inputs,) int64, or None where every input is touched.
    sampled: offsets (neurons + 1,) and positions (num,) of each neuron's entries among the columns.
    block: rows (touched neurons,) or None for all, and places (num,) in (rows, columns).
    """

    engine: str
    columns: Tensor | None
    first: Tensor | None
    second: Tensor

    @classmethod
    def of(cls, entries: Entries, engine: str) -> 'EntryIndex':
        """engine: 'sampled' or 'block'."""
        columns, position = entries.columns.unique(return_inverse=True)
        touched = None if len(columns) == entries.num_inputs else columns
        if engine == 'sampled':
            offsets = torch.cat([entries.counts.new_zeros(1), entries.counts.cumsum(0)])
            return cls(engine, touched, offsets, position)
        rows, row = entries.rows().unique(return_inverse=True)
        some = None if len(rows) == entries.num_neurons else rows
        return cls(engine, touched, some, row * len(columns) + position)


def cheapest_engine(entries: Entries, device: torch.device) -> str:
    """'sampled' or 'block', by the number of multiply-adds and what one costs.

    On a GPU always 'block': there a matrix product is far cheaper still against a dot product, and
    no measurement speaks for the other way.
    """
    if device.type != 'cpu':
        return 'block'
    touched_inputs, touched_neurons = len(entries.columns.unique()), int((entries.counts > 0).sum())
    price = SAMPLED_PRICE * (entries.num + entries.num_neurons)
    return 'sampled' if price < touched_inputs * touched_neurons else 'block'
