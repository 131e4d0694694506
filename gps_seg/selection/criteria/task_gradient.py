"""Scores from the gradient of the model's own loss."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from gps_seg.selection.criteria.gradient_sums import GradientSums
from gps_seg.selection.scores import Scores, SelectableWeight
from gps_seg.selection.scoring import given

Loss = Callable[[Any], Tensor]


class TaskGradient:
    """Size of the summed gradient of the model's own loss ("Head+CE", arXiv:2312.10136, Table 6c).

    weights: what is scored.
    look: loss, micro-batch -> scalar, the mean over its samples. Micro-batches weigh by their
        number of samples, so that the size of the chunks does not change the result.

    Signed gradients are summed over the batches and the size is taken at the end.
    """

    needs: ClassVar[str] = 'loss'
    gradients: ClassVar[bool] = True
    why_zero: ClassVar[str] = 'it saw no images, or the loss does not depend on the weights'

    def __init__(self, weights: Collection[SelectableWeight], look: Loss | None = None) -> None:
        self.weights = weights
        self.loss = given(look, self.needs)
        self._gradients = GradientSums(weights)

    def update(self, batch: Sequence[Any]) -> float:
        with self._gradients.gathering():
            return loss_backward(batch, self.loss)

    def totals(self) -> dict[str, Tensor]:
        return self._gradients.sums()

    def scores(self) -> Scores:
        sizes = {name: total.abs() for name, total in self._gradients.sums().items()}
        return Scores.of(self.weights, sizes)


def loss_backward(micro_batches: Sequence[Any], loss: Loss) -> float:
    """Accumulate the gradient of the mean loss over a batch in chunks. Returns that mean."""
    sizes = [num_samples(micro_batch) for micro_batch in micro_batches]
    mean = 0.0
    for micro_batch, size in zip(micro_batches, sizes, strict=True):
        part = loss(micro_batch) * (size / sum(sizes))
        if part.requires_grad:
            part.backward()
        mean += part.item()
    return mean


def num_samples(micro_batch: Any) -> int:
    """Samples of a micro-batch: of a tensor, or of the first part of a mapping or a sequence."""
    if isinstance(micro_batch, Mapping):
        return len(next(iter(micro_batch.values())))
    return len(micro_batch) if isinstance(micro_batch, Tensor) else len(micro_batch[0])
