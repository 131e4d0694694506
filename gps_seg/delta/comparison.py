"""What two deltas of one base write, entry by entry: one of them, both alike, or differently."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gps_seg.delta.bits import bits, has_bits
from gps_seg.delta.delta import Delta
from gps_seg.delta.difference import dtype_name
from gps_seg.delta.fingerprint import short
from gps_seg.delta.swapping import KIND
from gps_seg.delta.tensors import under


@dataclass(frozen=True, eq=False)
class TensorComparison:
    """What two deltas write of one tensor.

    shape: of the tensor. only_first, only_second: entries that only one of them writes. same:
        entries that both write, with the same bits.
    places: (num,) int64, ascending, of the entries in the flattened tensor that both write, with
        different bits. first, second: (num,) the two values.
    """

    shape: tuple[int, ...]
    only_first: int
    only_second: int
    same: int
    places: Tensor
    first: Tensor
    second: Tensor

    @property
    def is_same(self) -> bool:
        """Whether both write the same entries with the same bits."""
        return not (self.only_first or self.only_second or self.num_conflicts)

    @property
    def num_conflicts(self) -> int:
        return len(self.places)

    @property
    def largest_difference(self) -> float:
        """Between the two values of an entry that both write; 0 where they agree."""
        if not self.num_conflicts:
            return 0.0
        one, other = (_for_arithmetic(values) for values in (self.first, self.second))
        return float((one - other).abs().max())

    def index(self, position: int) -> tuple[int, ...]:
        """Where in the tensor the conflict at a position lies."""
        return tuple(
            int(i) for i in torch.unravel_index(self.places[position], self.shape or (1,))
        )[: len(self.shape)]


Comparison = Mapping[str, TensorComparison]


def compare(first: Delta, second: Delta) -> dict[str, TensorComparison]:
    """What two deltas of one base write, by tensor, in the order of their names.

    A tensor that is stored whole counts as written in all its entries.

    Raises ValueError for an undo, for deltas of different bases, and where they add different
    modules to one layer.
    """
    check_comparable(first, second)
    written = [{*delta.values, *delta.whole} for delta in (first, second)]
    return {name: compare_tensor(name, first, second) for name in sorted(set.union(*written))}


def compare_tensor(name: str, first: Delta, second: Delta) -> TensorComparison:
    """What two deltas write of one tensor. Raises ValueError where its shape or dtype differs."""
    one, other = written(name, first), written(name, second)
    if one is None or other is None:
        present = one if one is not None else other
        assert present is not None
        return TensorComparison(
            present.shape,
            present.num if other is None else 0,
            present.num if one is None else 0,
            0,
            torch.empty(0, dtype=torch.int64),
            present.values[:0],
            present.values[:0],
        )
    if one.shape != other.shape or one.values.dtype != other.values.dtype:
        raise ValueError(
            f'{name} is {one.shape} {dtype_name(one.values)} in one delta and {other.shape} '
            f'{dtype_name(other.values)} in the other: they are of different models'
        )
    in_first, in_second = one.dense(), other.dense()
    both = in_first.mask & in_second.mask
    places = both.nonzero()[:, 0]
    values, others = in_first.values[places], in_second.values[places]
    differ = _differs(values, others)
    return TensorComparison(
        one.shape,
        one.num - len(places),
        other.num - len(places),
        int((~differ).sum()),
        places[differ],
        values[differ],
        others[differ],
    )


def same_below(path: str, one: Delta | None, other: Delta | None) -> bool:
    """Whether two deltas make the same of what lies below a path; None is the base."""
    names = {
        name
        for delta in (one, other)
        if delta is not None
        for name in (*delta.values, *delta.whole)
        if under(name, [path])
    }
    if one is None or other is None:
        return not names
    added = [{h: s for h, s in d.added.items() if under(h, [path])} for d in (one, other)]
    return added[0] == added[1] and all(compare_tensor(n, one, other).is_same for n in names)


@dataclass(frozen=True, eq=False)
class Dense:
    """A flattened tensor, and which of its entries are written; elsewhere its values are 0."""

    values: Tensor
    mask: Tensor


@dataclass(frozen=True, eq=False)
class Written:
    """What a delta writes of a tensor: at `places` of the flattened tensor, `values`."""

    shape: tuple[int, ...]
    places: Tensor
    values: Tensor

    @property
    def num(self) -> int:
        return len(self.values)

    def dense(self) -> Dense:
        size = torch.Size(self.shape).numel()
        mask = torch.zeros(size, dtype=torch.bool)
        mask[self.places] = True
        values = torch.zeros(size, dtype=self.values.dtype)
        values[self.places] = self.values
        return Dense(values, mask)


def written(name: str, delta: Delta) -> Written | None:
    """What a delta writes of a tensor, on the CPU; None where it leaves it alone."""
    if name in delta.values:
        entries = delta.selection[name]
        return Written(tuple(entries.shape), entries.storage_index(), delta.values[name].cpu())
    if name not in delta.whole:
        return None
    tensor = delta.whole[name].detach().cpu()
    return Written(tuple(tensor.shape), torch.arange(tensor.numel()), tensor.reshape(-1))


def check_comparable(first: Delta, second: Delta) -> None:
    """Raise ValueError unless both are deltas, of one base, that add no different modules."""
    for delta in (first, second):
        if delta.metadata.get(KIND, 'delta') != 'delta':
            raise ValueError('an undo restores a base; name the delta itself')
    if first.base != second.base:
        raise ValueError(
            f'the deltas belong to different bases, {short(first.base)} and {short(second.base)}; '
            'only deltas of one base (its file, and the parts that start fresh) have entries in '
            'common'
        )
    for path in first.added.keys() & second.added.keys():
        if first.added[path] != second.added[path]:
            raise ValueError(
                f'the deltas add different modules to {path}, {dict(first.added[path])} and '
                f'{dict(second.added[path])}, which cannot both be there'
            )


def _differs(one: Tensor, other: Tensor) -> Tensor:
    """(num,) bool, where two one-dimensional tensors differ in any bit."""
    if has_bits(one):
        return bits(one) != bits(other)
    pairs = (torch.view_as_real(t).contiguous().view(torch.int64) for t in (one, other))
    first, second = pairs
    return (first != second).any(dim=1)


def _for_arithmetic(values: Tensor) -> Tensor:
    return values.to(torch.complex128 if values.is_complex() else torch.float64)
