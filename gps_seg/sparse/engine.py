"""How the gradient of the selected entries is computed, and which way is the cheapest.

For a layer that multiplies its weight (neurons, inputs) with N input vectors, the gradient of an
entry is the dot product, over the N, of one column of the output gradient with one column of the
input. Three engines give the same numbers:

    sampled  one dot product per entry (a sampled dense-dense matrix product)
    block    the product of the touched neurons with the touched inputs, then a gather
    dense    the gradient of the whole weight, then a gather: right for any operation

The first two keep only the touched columns of the input for backward.
"""

from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from gps_seg.selection.selection import Entries
from gps_seg.sparse.sampled_product import sampled_operator, sampled_product

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
class SampledIndex:
    """The selected entries of one matrix, one after another.

    columns: (touched inputs,) int64, or None where every input is touched.
    offsets: (neurons + 1,) int64, where each neuron's entries begin, and where the last ends.
    positions: (num,) int64, the place of each entry's input among the columns.
    """

    engine: ClassVar[str] = 'sampled'
    columns: Tensor | None
    offsets: Tensor
    positions: Tensor

    @property
    def num(self) -> int:
        return len(self.positions)

    @classmethod
    def of(cls, entries: Entries) -> 'SampledIndex':
        columns, positions = entries.columns.unique(return_inverse=True)
        offsets = torch.cat([entries.counts.new_zeros(1), entries.counts.cumsum(0)])
        return cls(_unless_all(columns, entries.num_inputs), offsets, positions)

    def gradient(self, grad: Tensor, kept: Tensor) -> Tensor:
        """grad: (neurons, n), of the output. kept: (columns, n), of the input. Returns (num,)."""
        product = sampled_operator if torch.compiler.is_compiling() else sampled_product
        return product(grad, kept, self.offsets, self.positions)


@dataclass(frozen=True)
class BlockIndex:
    """The selected entries of one matrix, in the smallest block of rows and columns.

    columns: (touched inputs,) int64, or None where every input is touched.
    rows: (touched neurons,) int64, or None where every neuron is touched.
    places: (num,) int64, the place of each entry in the flattened (rows, columns).
    """

    engine: ClassVar[str] = 'block'
    columns: Tensor | None
    rows: Tensor | None
    places: Tensor

    @property
    def num(self) -> int:
        return len(self.places)

    @classmethod
    def of(cls, entries: Entries) -> 'BlockIndex':
        columns, column = entries.columns.unique(return_inverse=True)
        rows, row = entries.rows().unique(return_inverse=True)
        return cls(
            _unless_all(columns, entries.num_inputs),
            _unless_all(rows, entries.num_neurons),
            row * len(columns) + column,
        )

    def gradient(self, grad: Tensor, kept: Tensor) -> Tensor:
        """grad: (neurons, n), of the output. kept: (columns, n), of the input. Returns (num,)."""
        rows = grad if self.rows is None else grad.index_select(0, self.rows)
        return torch.take(rows @ kept.T, self.places)


@dataclass(frozen=True)
class DenseIndex:
    """The selected entries of one weight, by their places.

    places: (num,) int64, in the flattened weight.
    """

    engine: ClassVar[str] = 'dense'
    places: Tensor

    @classmethod
    def of(cls, entries: Entries) -> 'DenseIndex':
        return cls(entries.storage_index())


ProductIndex = SampledIndex | BlockIndex
Index = ProductIndex | DenseIndex
INDEX_CLASSES: dict[str, type[Index]] = {
    index.engine: index for index in (SampledIndex, BlockIndex, DenseIndex)
}
# The names of the tensors that each engine's index holds, in its order.
INDEX_PARTS = {
    engine: tuple(field.name for field in fields(index)) for engine, index in INDEX_CLASSES.items()
}


def index_tensors(index: Index) -> tuple[Tensor | None, ...]:
    """The tensors that an index holds, in its order."""
    return tuple(getattr(index, part) for part in INDEX_PARTS[index.engine])


def product_index(engine: str, *parts: Tensor | None) -> ProductIndex:
    """The index of 'sampled' or 'block' with these tensors."""
    index = INDEX_CLASSES[engine](*parts)  # type: ignore[arg-type]
    assert not isinstance(index, DenseIndex)
    return index


def index_of(entries: Entries, engine: str, device: torch.device) -> ProductIndex:
    """The index of a matrix product's weight; 'auto' takes the cheapest engine on the device."""
    chosen = cheapest_engine(entries, device) if engine == 'auto' else engine
    return SampledIndex.of(entries) if chosen == 'sampled' else BlockIndex.of(entries)


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


def _unless_all(touched: Tensor, num: int) -> Tensor | None:
    return None if len(touched) == num else touched
