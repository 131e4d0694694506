"""What it costs to keep values and weights at one truth (see `gps_seg.sparse.agreement`)."""

import statistics
from typing import Any

import torch
from torch import nn

from gps_seg.sparse import agreement, sparse_weights
from tools.benchmarks.meters import now


def watch_seconds(model: nn.Module, *, rounds: int, device: str) -> float:
    """Seconds that a training step of a converted model spends on it, the median over rounds.

    That is: the comparison at each forward pass, the one before the optimizer's step (where nobody
    waits for a GPU it looks at version counters alone), and writing every value into its weight
    after that step. 0 for a model without selected entries.
    """
    parts = [layer.part(name) for _, layer, name in sparse_weights(model)]
    if not parts:
        return 0.0
    at_hand = all(agreement.is_at_hand(index) for _, index in parts)
    taken = []
    for _ in range(rounds):
        start = now(device)
        agreement.agree_parts(parts)
        if at_hand:
            agreement.agree_parts(parts)
        else:
            assert not any(agreement.weight_was_written(part) for part, _ in parts)
        watched = now(device) - start
        _step(parts)
        start = now(device)
        agreement.agree_parts(parts)
        taken.append(watched + now(device) - start)
    return statistics.median(taken)


def _step(parts: list[tuple[Any, torch.Tensor]]) -> None:
    with torch.no_grad():
        for part, _ in parts:
            part.values.add_(1e-4)
