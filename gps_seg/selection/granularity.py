"""From scores to a selection.

Of equal scores every granularity takes the entry that comes first (weight after weight, neuron
after neuron, input after input). A weight of which nothing is taken is left out of the selection.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gps_seg.selection.budget import Budget
from gps_seg.selection.rows_and_columns import auto_masks, column_masks, row_masks
from gps_seg.selection.scores import Scores
from gps_seg.selection.selection import Entries, Selection


def neuron(scores: Scores, budget: Budget) -> Selection:
    """The top-k incoming weights of each output neuron (GPS, arXiv:2312.10136, section 3.1).

    budget: k as given; for num and fraction, the largest k whose entries do not exceed them. If a
    neuron has fewer inputs than k, all of them are taken.
    """
    per_neuron = budget.per_neuron(scores)
    entries = {}
    for name, matrix in scores.items():
        counts = torch.full((len(matrix),), min(per_neuron, matrix.shape[1]), dtype=torch.int64)
        weight = scores.weights[name]
        columns = _top_of_rows(matrix, int(counts[0])).nonzero()[:, 1]
        entries[name] = Entries(
            columns.cpu(), counts, tuple(weight.parameter.shape), weight.transposed_groups
        )
    provenance = {'granularity': 'neuron', **budget.provenance(scores)}
    return Selection(entries, {**provenance, 'k': str(per_neuron)})


def layer(scores: Scores, budget: Budget) -> Selection:
    """The best entries of each weight, as many as its share of the budget, exactly."""
    counts = budget.of_layers(scores)
    masks = {name: _top([matrix], counts[name])[0] for name, matrix in scores.items()}
    return _selection(scores, masks, budget, 'layer')


def net(scores: Scores, budget: Budget) -> Selection:
    """The best entries of all weights together, exactly as many as the budget says.

    The whole network's ranking of arXiv:2312.10136, Table 6a; needs one more copy of the scores.
    """
    masks = _top(list(scores.values()), budget.total(scores))
    return _selection(scores, dict(zip(scores, masks, strict=True)), budget, 'net')


def rows(scores: Scores, budget: Budget) -> Selection:
    """The neurons with the largest sum of scores, whole (GRFT, arXiv:2507.00016).

    As many of each weight as fit into its share of the budget; what is left over then goes to the
    best lines of all weights, by score per entry, that still fit. Never more than the budget.
    """
    masks = row_masks(scores, budget.of_layers(scores))
    return _selection(scores, masks, budget, 'rows')


def columns(scores: Scores, budget: Budget) -> Selection:
    """The inputs with the largest sum of scores, whole: as `rows`, by columns."""
    masks = column_masks(scores, budget.of_layers(scores))
    return _selection(scores, masks, budget, 'columns')


def auto(scores: Scores, budget: Budget) -> Selection:
    """Rows or columns of each weight: whichever captures more score with its share of the budget.

    A line that fits in part only counts with that part, so that both are judged at equal counts.
    """
    masks = auto_masks(scores, budget.of_layers(scores))
    return _selection(scores, masks, budget, 'auto')


GRANULARITIES: dict[str, Callable[[Scores, Budget], Selection]] = {
    'neuron': neuron,
    'layer': layer,
    'net': net,
    'rows': rows,
    'columns': columns,
    'auto': auto,
}


def choose(scores: Scores, granularity: str, budget: Budget) -> Selection:
    """The selection that a granularity and a budget make of scores.

    scores: of every weight. Weights whose scores are all zero, as those that the images never
        reach, are left out, rather than filled with whatever entries come first; the provenance
        names them under 'unscored', separated by commas.
    granularity: a key of GRANULARITIES.
    budget: counts over the scored weights only.

    Raises ValueError if every score is zero, or the budget does not fit.

    >>> from gps_seg.selection import Magnitude, selectable_weights
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Linear(2, 1))
    >>> model[0].weight.data = torch.tensor([[1.0, -3.0]])
    >>> model[1].weight.data = torch.zeros(1, 2)
    >>> scores = Magnitude(selectable_weights(model)).scores()
    >>> selection = choose(scores, 'neuron', Budget(k=1))
    >>> selection['0.weight'].columns, selection.provenance['unscored']
    (tensor([1]), '1.weight')
    """
    if granularity not in GRANULARITIES:
        raise ValueError(
            f'there is no granularity {granularity!r}; choose one of {", ".join(GRANULARITIES)}'
        )
    unscored = scores.unscored()
    if len(unscored) == len(scores):
        raise ValueError(
            'the scores of all weights are zero, so that there is nothing to choose by; score the '
            'weights with images that reach them, or by another criterion'
        )
    selection = GRANULARITIES[granularity](scores.without(unscored), budget)
    return selection.described(unscored=','.join(unscored)) if unscored else selection


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
