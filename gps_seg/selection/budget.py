"""How many entries to select, and how they are shared out over the weights."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gps_seg.selection.scores import Scores


@dataclass(frozen=True)
class Budget:
    """How many entries, as exactly one of three settings.

    k: entries per neuron on average, >= 1; a neuron with fewer inputs counts with all of them.
    num: entries in all, >= 1.
    fraction: share of all entries that are scored, in (0, 1].

    Raises ValueError, naming the setting, for none or two of them, or a value out of range.
    """

    k: int | None = None
    num: int | None = None
    fraction: float | None = None

    def __post_init__(self) -> None:
        given = self.settings()
        if len(given) != 1:
            raise ValueError(
                'the budget needs exactly one of k (entries per neuron), num (entries in all) and '
                f'fraction (of all entries), got {", ".join(given) or "none"}'
            )
        for name in ('k', 'num'):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise ValueError(f'{name} must be a whole number, got {value!r}')
            if value is not None and value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}')
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise ValueError(f'fraction must be above 0 and at most 1, got {self.fraction}')

    def settings(self) -> dict[str, int | float]:
        """The setting that is given."""
        settings = {'k': self.k, 'num': self.num, 'fraction': self.fraction}
        return {name: value for name, value in settings.items() if value is not None}

    def total(self, scores: Scores) -> int:
        """Entries in all. Raises ValueError if the weights have fewer, or if that is none."""
        size = sum(matrix.numel() for matrix in scores.values())
        if self.k is not None:
            return sum(len(m) * min(self.k, m.shape[1]) for m in scores.values())
        if self.num is not None:
            if self.num > size:
                raise ValueError(
                    f'num must be at most {size}, all entries there are; got {self.num}'
                )
            return self.num
        assert self.fraction is not None
        total = math.floor(self.fraction * size)
        if total < 1:
            raise ValueError(f'fraction={self.fraction} of {size} entries is less than one entry')
        return total

    def of_layers(self, scores: Scores) -> dict[str, int]:
        """Entries of each weight; they add up to the total.

        k: the same for every neuron. num: shared out by the number of neurons. fraction: by size.
        """
        if self.k is not None:
            return {name: len(m) * min(self.k, m.shape[1]) for name, m in scores.items()}
        sizes = [matrix.numel() for matrix in scores.values()]
        shares = sizes if self.num is None else [len(matrix) for matrix in scores.values()]
        counts = share_out(self.total(scores), shares, sizes)
        return dict(zip(scores, counts, strict=True))

    def per_neuron(self, scores: Scores) -> int:
        """The largest number per neuron with which the total is not exceeded."""
        if self.k is not None:
            return self.k
        total = self.total(scores)
        low, high = 0, max(matrix.shape[1] for matrix in scores.values())
        while low < high:
            middle = (low + high + 1) // 2
            needed = Budget(k=middle).total(scores)
            low, high = (middle, high) if needed <= total else (low, middle - 1)
        if low < 1:
            name, value = next(iter(self.settings().items()))
            raise ValueError(
                f'{name}={value} is less than one entry for each of the '
                f'{Budget(k=1).total(scores)} neurons; take more, or the granularity layer or net'
            )
        return low

    def provenance(self, scores: Scores) -> Mapping[str, str]:
        """The setting, and which weights have fewer inputs than k."""
        described = {name: str(value) for name, value in self.settings().items()}
        if self.k is not None:
            clamped = [name for name, matrix in scores.items() if matrix.shape[1] < self.k]
            if clamped:
                described['clamped'] = ', '.join(clamped)
        return described


def share_out(total: int, shares: Sequence[float], limits: Sequence[int]) -> list[int]:
    """Split a total in proportion to shares, by the largest remainder, within limits.

    total: at most the sum of the limits. What a limit cuts off goes to the others. Of equal
    remainders the first come first.

    >>> share_out(10, [1, 1, 2], [1, 9, 9])
    [1, 3, 6]
    """
    counts = [0] * len(shares)
    left, open_places = total, list(range(len(shares)))
    while True:
        weight = sum(shares[place] for place in open_places)
        full = [p for p in open_places if left * shares[p] >= limits[p] * weight]
        if not full or not weight:
            break
        for place in full:
            counts[place] = limits[place]
        left -= sum(limits[place] for place in full)
        open_places = [place for place in open_places if place not in set(full)]
        if not open_places or left <= 0:
            return counts
    exact = {place: left * shares[place] / weight for place in open_places}
    for place in open_places:
        counts[place] = math.floor(exact[place])
    missing = left - sum(counts[place] for place in open_places)
    by_remainder = sorted(open_places, key=lambda place: counts[place] - exact[place])
    for place in by_remainder[:missing]:
        counts[place] += 1
    return counts
