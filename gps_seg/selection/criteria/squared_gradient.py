"""Scores from squared gradients of the model's own loss."""

from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from torch import Tensor

from gps_seg.selection.criteria.gradient_sums import GradientSums, zeros_for
from gps_seg.selection.criteria.task_gradient import Loss, loss_backward
from gps_seg.selection.scores import Scores, SelectableWeight
from gps_seg.selection.scoring import given

SQUARES = ('of_batches', 'of_sum')


class SquaredGradient:
    """Squared gradients of the model's own loss (GRFT, arXiv:2507.00016).

    weights: what is scored.
    look: loss, as for `TaskGradient`.
    squares: 'of_batches' is the sum of the batches' squared gradients, so that batches do not
        cancel; it needs one more tensor of the size of the weights. 'of_sum' is the square of the
        summed gradient. The paper leaves open which of the two it means.
    """

    needs: ClassVar[str] = 'loss'
    gradients: ClassVar[bool] = True
    why_zero: ClassVar[str] = 'it saw no images, or the loss does not depend on the weights'

    def __init__(
        self,
        weights: Collection[SelectableWeight],
        look: Loss | None = None,
        *,
        squares: str = 'of_batches',
    ) -> None:
        if squares not in SQUARES:
            raise ValueError(f'squares must be one of {", ".join(SQUARES)}, got {squares!r}')
        self.weights = weights
        self.loss = given(look, self.needs)
        self.squares = squares
        self._gradients = GradientSums(weights)
        self._squares = (
            {weight.name: zeros_for(weight) for weight in weights}
            if squares == 'of_batches'
            else {}
        )

    def update(self, batch: Sequence[Any]) -> float:
        with self._gradients.gathering():
            loss = loss_backward(batch, self.loss)
        if self.squares == 'of_batches':
            for name, gradient in self._gradients.reached().items():
                self._squares[name].addcmul_(gradient, gradient)
            self._gradients.clear()
        return loss

    def totals(self) -> dict[str, Tensor]:
        return dict(self._squares) if self.squares == 'of_batches' else self._gradients.sums()

    def scores(self) -> Scores:
        if self.squares == 'of_batches':
            squares = {name: total.clone() for name, total in self._squares.items()}
        else:
            squares = {name: total.square() for name, total in self._gradients.sums().items()}
        return Scores.of(self.weights, squares)
