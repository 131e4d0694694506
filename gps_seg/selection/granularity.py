"""From scores to a selection.

Each granularity takes scores and exactly one of `k` (entries per neuron on average), `num` (entries
in all) and `fraction` (of all entries); see `Budget`. Of equal scores the entry that comes first
(weight after weight, neuron after neuron, input after input) is taken. A weight of which nothing is
taken is left out of the selection.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gps_seg.selection.budget import Budget
from gps_seg.selection.lines import auto_masks, column_masks, row_masks
from gps_seg.selection.scores import Scores
from gps_seg.selection.selection import Entries, Selection


def neuron(
    scores: Scores,
    *,
    k: int | None = None,
    num: int | None = None,
    fraction: float | None = None,
) -> Selection:
    """The top-k incoming weights of each output neuron (GPS, arXiv:2312.10136, section 3.2).

    num, fraction: the largest k whose entries do not exceed them. Where a neuron has fewer inputs
    than k, all of them are taken.
    """
    budget = Budget(k, num, fraction)
    per_neuron = budget.per_neuron(scores)
    entries = {}
    for name, matrix in scores.items():
        counts = torch.full((len(matrix),), min(per_neuron, matrix.shape[1]), dtype=torch.int64)
        weight = scores.weights[name]
        columns = _top_of_rows(matrix, int(counts[0])).nonzero()[:, 1]
        entries[name] = Entries(
            columns.cpu(), counts, tuple(weight.parameter.shape), weight.transposed_groups
        )
    said = {'granularity': 'neuron', **budget.provenance(scores)}
    return Selection(entries, {**said, 'k': str(per_neuron)})


def layer(
    scores: Scores,
    *,
    k: int | None = None,
    num: int | None = None,
    fraction: float | None = None,
) -> Selection:
    """The best entries of each weight, as many as its share of the budget, exactly."""
    budget = Budget(k, num, fraction)
    counts = budget.of_layers(scores)
    masks = {name: _top([matrix], counts[name])[0] for name, matrix in scores.items()}
    return _selection(scores, masks, budget, 'layer')


def net(
    scores: Scores,
    *,
    k: int | None = None,
    num: int | None = None,
    fraction: float | None = None,
) -> Selection:
    """The best entries of all weights together, exactly as many as the budget says.

    The whole network's ranking of arXiv:2312.10136, Table 6a; needs one more copy of the scores.
    """
    budget = Budget(k, num, fraction)
    masks = _top(list(scores.values()), budget.total(scores))
    return _selection(scores, dict(zip(scores, masks, strict=True)), budget, 'net')


def rows(
    scores: Scores,
    *,
    k: int | None = None,
    num: int | None = None,
    fraction: float | None = None,
) -> Selection:
    """The neurons with the largest sum of scores, whole (GRFT, arXiv:2507.00016).

    As many of each weight as fit into its share of the budget; what is left over then goes to the
    best lines of all weights, by score per entry, that still fit. Never more than the budget.
    """
    budget = Budget(k, num, fraction)
    masks = row_masks(scores, budget.of_layers(scores))
    return _selection(scores, masks, budget, 'rows')


def columns(
    scores: Scores,
    *,
    k: int | None = None,
    num: int | None = None,
    fraction: float | None = None,
) -> Selection:
    """The inputs with the largest sum of scores, whole: as `rows`, by columns."""
    budget = Budget(k, num, fraction)
    masks = column_masks(scores, budget.of_layers(scores))
    return _selection(scores, masks, budget, 'columns')


def auto(
    scores: Scores,
    *,
    k: int | None = None,
    num: int | None = None,
    fraction: float | None = None,
) -> Selection:
    """Rows or columns of each weight: whichever captures more score with its share of the budget.

    A line that fits in part only counts with that part, so that both are judged at equal counts.
    """
    budget = Budget(k, num, fraction)
    masks = auto_masks(scores, budget.of_layers(scores))
    return _selection(scores, masks, budget, 'auto')


GRANULARITIES: dict[str, Callable[..., Selection]] = {
    'neuron': neuron,
    'layer': layer,
    'net': net,
    'rows': rows,
    'columns': columns,
    'auto': auto,
}


def _selection(
    scores: Scores, masks: Mapping[str, Tensor], budget: Budget, granularity: str
) -> Selection:
    entries = {}
    for name, mask in masks.items():
        weight = scores.weights[name]
        if bool(mask.any()):
            shape = tuple(weight.parameter.shape)
            entries[name] = Entries.from_mask(mask, shape, weight.transposed_groups)
    if not entries:
        ((setting, value),) = budget.settings().items()
        raise ValueError(
            f'{setting}={value} is less than a single one of the {granularity}; take more, or the '
            'granularity neuron, layer or net'
        )
    return Selection(entries, {'granularity': granularity, **budget.provenance(scores)})


def _top_of_rows(matrix: Tensor, num: int) -> Tensor:
    """Mask of the `num` largest values of each row; of equal ones the first."""
    least = matrix.topk(num, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    above, equal = matrix > least, matrix == least
    missing = num - above.sum(dim=1, keepdim=True)
    return above | (equal & (equal.cumsum(dim=1) <= missing))


def _top(matrices: Sequence[Tensor], num: int) -> list[Tensor]:
    """Masks of the `num` largest values of all matrices together; of equal ones the first."""
    if num == 0:
        return [torch.zeros_like(matrix, dtype=torch.bool) for matrix in matrices]
    flat = torch.cat([matrix.detach().reshape(-1).cpu() for matrix in matrices]).numpy()
    flat.partition(len(flat) - num)  # in place: no sorting, no index as large as the scores
    least = float(flat[len(flat) - num])
    del flat
    masks = [matrix > least for matrix in matrices]
    missing = num - sum(int(mask.sum()) for mask in masks)
    for matrix, mask in zip(matrices, masks, strict=True):
        places = (matrix == least).reshape(-1).nonzero()[:missing, 0]
        mask.view(-1)[places] = True
        missing -= len(places)
    return masks
