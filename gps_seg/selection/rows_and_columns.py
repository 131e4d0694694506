"""Whole rows and columns of weights, within a budget of entries."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gps_seg.selection.scores import Scores

ROWS, COLUMNS = 0, 1


@dataclass(frozen=True)
class Lines:
    """The rows or the columns of one weight.

    captured: (num,) float64, the sum of the scores of each line. length: entries of a line.
    """

    captured: Tensor
    length: int
    axis: int

    @classmethod
    def of(cls, matrix: Tensor, axis: int) -> 'Lines':
        sums = matrix.sum(dim=1 - axis, dtype=torch.float64).cpu()
        return cls(sums, matrix.shape[1 - axis], axis)

    def ranked(self) -> Tensor:
        """The lines from the best; of equal ones the first comes first."""
        return self.captured.argsort(descending=True, stable=True)

    def captured_by(self, num_entries: int) -> float:
        """Score of the best lines that make up a number of entries, the last one in part."""
        whole, rest = divmod(num_entries, self.length)
        best = self.captured[self.ranked()]
        partial = float(best[whole]) * rest / self.length if rest else 0.0
        return float(best[:whole].sum()) + partial

    def mask(self, chosen: Tensor, shape: torch.Size) -> Tensor:
        """chosen: (num,) bool. Returns (neurons, inputs) bool."""
        line = chosen[:, None] if self.axis == ROWS else chosen[None, :]
        return line.expand(shape)


def row_masks(scores: Scores, counts: Mapping[str, int]) -> dict[str, Tensor]:
    """Whole rows of each weight, near `counts` entries. Returns (neurons, inputs) bool masks."""
    return _masks(scores, {name: Lines.of(m, ROWS) for name, m in scores.items()}, counts)


def column_masks(scores: Scores, counts: Mapping[str, int]) -> dict[str, Tensor]:
    """Whole columns of each weight, near `counts` entries."""
    return _masks(scores, {name: Lines.of(m, COLUMNS) for name, m in scores.items()}, counts)


def auto_masks(scores: Scores, counts: Mapping[str, int]) -> dict[str, Tensor]:
    """Rows or columns of each weight, whichever captures more; rows if they tie."""
    lines = {}
    for name, matrix in scores.items():
        both = [Lines.of(matrix, axis) for axis in (ROWS, COLUMNS)]
        lines[name] = max(both, key=lambda of_axis: of_axis.captured_by(counts[name]))
    return _masks(scores, lines, counts)


def _masks(
    scores: Scores, lines: Mapping[str, Lines], counts: Mapping[str, int]
) -> dict[str, Tensor]:
    chosen = {}
    for name, of_weight in lines.items():
        chosen[name] = torch.zeros(len(of_weight.captured), dtype=torch.bool)
        chosen[name][of_weight.ranked()[: counts[name] // of_weight.length]] = True
    used = sum(int(chosen[name].sum()) * lines[name].length for name in lines)
    _spend(sum(counts.values()) - used, lines, chosen)
    return {name: lines[name].mask(chosen[name], scores[name].shape) for name in lines}


def _spend(left: int, lines: Mapping[str, Lines], chosen: Mapping[str, Tensor]) -> None:
    """Give what the weights' shares left over to the best lines, by score per entry, that fit."""
    densities = torch.cat(
        [
            (of_weight.captured / of_weight.length).masked_fill(chosen[name], -1)
            for name, of_weight in lines.items()
        ]
    )
    owners = [(name, place) for name in lines for place in range(len(lines[name].captured))]
    shortest = min(of_weight.length for of_weight in lines.values())
    for index in densities.argsort(descending=True, stable=True).tolist():
        if left < shortest or densities[index] < 0:
            return
        name, place = owners[index]
        if lines[name].length <= left:
            chosen[name][place] = True
            left -= lines[name].length
