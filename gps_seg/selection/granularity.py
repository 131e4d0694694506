"""From scores to a selection."""

import torch

from gps_seg.selection.scores import Scores
from gps_seg.selection.selection import Entries, Selection


def neuron(scores: Scores, *, k: int) -> Selection:
    """The top-k incoming weights of each output neuron (GPS, arXiv:2312.10136, section 3.2).

    k: at least 1; where a neuron has fewer inputs, all of them are taken.
    """
    if k < 1:
        raise ValueError(f'k must be at least 1, got {k}')
    entries = {}
    for name, matrix in scores.items():
        top = matrix.topk(min(k, matrix.shape[1]), dim=1).indices
        columns, _ = top.sort(dim=1)
        weight = scores.weights[name]
        entries[name] = Entries(
            columns.flatten().cpu(),
            torch.full((len(matrix),), columns.shape[1], dtype=torch.int64),
            tuple(weight.parameter.shape),
            weight.transposed_groups,
        )
    return Selection(entries, {'granularity': 'neuron', 'k': str(k)})
