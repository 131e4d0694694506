"""Scores from the weights themselves: a control of every comparison."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar

from torch import Tensor

from gps_seg.selection.criteria.gradient_sums import sum_type
from gps_seg.selection.scores import Scores, SelectableWeight


class Magnitude:
    """Size of the weight itself; no image is looked at.

    >>> import torch
    >>> weight = SelectableWeight('weight', torch.nn.Parameter(torch.tensor([[1.0, -2.0]])))
    >>> Magnitude([weight]).scores()['weight']
    tensor([[1., 2.]])
    """

    needs: ClassVar[str] = 'nothing'
    gradients: ClassVar[bool] = False
    why_zero: ClassVar[str] = 'every weight is zero'

    def __init__(
        self, weights: Collection[SelectableWeight], look: Callable[..., Any] | None = None
    ) -> None:
        self.weights = weights

    def update(self, batch: Sequence[Any]) -> None:
        """A batch changes nothing."""

    def totals(self) -> dict[str, Tensor]:
        return {}

    def scores(self) -> Scores:
        sizes = {
            weight.name: weight.parameter.detach().to(sum_type(weight.parameter)).abs()
            for weight in self.weights
        }
        return Scores.of(self.weights, sizes)
