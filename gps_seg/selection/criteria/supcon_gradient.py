"""Scores from the gradient of the supervised contrastive loss."""

from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from torch import Tensor

from gps_seg.selection.criteria.gradient_sums import GradientSums
from gps_seg.selection.criteria.supcon import Embed, supcon_backward
from gps_seg.selection.scores import Scores, SelectableWeight
from gps_seg.selection.scoring import given


class SupconGradient:
    """Size of the summed gradient of the contrastive loss, as in GPS (arXiv:2312.10136, eq. 1).

    weights: what is scored.
    look: embed, micro-batch -> embeddings (n, D), labels (n,); it must be deterministic.
    temperature: of the contrastive loss, above 0.

    Signed gradients are summed over the batches and the size is taken at the end, as published.
    """

    needs: ClassVar[str] = 'embed'
    gradients: ClassVar[bool] = True
    why_zero: ClassVar[str] = (
        'it saw no images, or no batch in which two embeddings share a class, or the embeddings do '
        'not depend on the weights; check the images, or use a larger contrastive batch'
    )

    def __init__(
        self,
        weights: Collection[SelectableWeight],
        look: 'Embed[Any] | None' = None,
        *,
        temperature: float = 0.07,
    ) -> None:
        if temperature <= 0:
            raise ValueError(f'temperature must be above 0, got {temperature}')
        self.weights = weights
        self.embed = given(look, self.needs)
        self.temperature = temperature
        self._gradients = GradientSums(weights)

    def update(self, batch: Sequence[Any]) -> float:
        with self._gradients.gathering():
            return supcon_backward(batch, self.embed, temperature=self.temperature)

    def totals(self) -> dict[str, Tensor]:
        return self._gradients.sums()

    def scores(self) -> Scores:
        sizes = {name: total.abs() for name, total in self._gradients.sums().items()}
        return Scores.of(self.weights, sizes)
