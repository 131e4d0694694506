"""Scores that need no data: the controls of every comparison."""

import hashlib
from collections.abc import Collection

import torch

from gps_seg.selection.scores import Scores, SelectableWeight


def magnitude(weights: Collection[SelectableWeight]) -> Scores:
    """Size of the weight itself."""
    return Scores.of(
        weights, {weight.name: weight.parameter.detach().abs().float() for weight in weights}
    )


def random(weights: Collection[SelectableWeight], *, seed: int = 0) -> Scores:
    """Uniform noise in [0, 1), different in every weight and the same for the same seed."""
    return Scores.of(weights, {weight.name: _noise(weight, seed) for weight in weights})


def _noise(weight: SelectableWeight, seed: int) -> torch.Tensor:
    # From the name too, so that a layer's mask does not depend on which other layers are scored.
    digest = hashlib.sha256(f'{seed}/{weight.name}'.encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], 'big') >> 1)
    return torch.rand(weight.parameter.shape, generator=generator)
