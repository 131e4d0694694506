"""Scores by chance: a control of every comparison."""

import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from gps_seg.selection.scores import Scores, SelectableWeight


class Random:
    """Uniform noise in [0, 1), different in every weight; no image is looked at.

    seed: the same seed gives a weight the same noise, whichever other weights are scored, and
        whatever was drawn before.
    """

    needs: ClassVar[str] = 'nothing'
    gradients: ClassVar[bool] = False
    why_zero: ClassVar[str] = 'there is no weight'

    def __init__(
        self,
        weights: Collection[SelectableWeight],
        look: Callable[..., Any] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.weights = weights
        self.seed = seed

    def update(self, batch: Sequence[Any]) -> None:
        """A batch changes nothing."""

    def totals(self) -> dict[str, Tensor]:
        return {}

    def scores(self) -> Scores:
        noise = {weight.name: _noise(weight, self.seed) for weight in self.weights}
        return Scores.of(self.weights, noise)


def _noise(weight: SelectableWeight, seed: int) -> Tensor:
    # From the name too, so that a layer's mask does not depend on which other layers are scored.
    digest = hashlib.sha256(f'{seed}/{weight.name}'.encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], 'big') >> 1)
    return torch.rand(weight.parameter.shape, generator=generator)
