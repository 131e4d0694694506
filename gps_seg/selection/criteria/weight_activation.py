"""Scores from one forward pass: no gradient, no memory for one."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from gps_seg.selection.criteria.gradient_sums import sum_type
from gps_seg.selection.criteria.input_recorder import InputRecorder
from gps_seg.selection.scores import Scores, SelectableWeight
from gps_seg.selection.scoring import given


class WeightActivation:
    """|w| times the mean of |a| over samples and positions (FPS, arXiv:2510.27359).

    a: the input activation that an entry multiplies. For a convolution the positions are those of
    its output (a is 0 if the kernel reaches into zero padding), for a transposed convolution those
    of its input (a is 0 if the product falls outside the output).

    weights: what is scored; weights of layers, no embeddings and tables (ValueError).
    look: embed, micro-batch -> anything; it runs the model, and its result is not used.

    Keeps one number for each input of each layer. A weight that met no activation scores zero.
    """

    needs: ClassVar[str] = 'embed'
    gradients: ClassVar[bool] = False
    why_zero: ClassVar[str] = (
        'it saw no images, or the forward pass does not run the layers of these weights'
    )

    def __init__(
        self, weights: Collection[SelectableWeight], look: Callable[[Any], Any] | None = None
    ) -> None:
        tables = [weight.name for weight in weights if weight.table]
        if tables:
            raise ValueError(
                f'{tables[0]} multiplies no activation, so that weight_activation cannot score it; '
                'leave it out, or take another criterion'
            )
        self.weights = weights
        self.embed = given(look, self.needs)
        self._inputs = InputRecorder(weights)

    def update(self, batch: Sequence[Any]) -> None:
        with torch.no_grad():
            for micro_batch in batch:
                with self._inputs:
                    self.embed(micro_batch)

    def totals(self) -> dict[str, Tensor]:
        return self._inputs.tensors()

    def scores(self) -> Scores:
        values = {}
        for weight in self.weights:
            means = self._inputs.means(weight.name)
            sizes = weight.matrix(weight.parameter.detach())
            sizes = sizes.to(sum_type(sizes)).abs()
            # Neurons of one block see the same inputs: (blocks, neurons / blocks, inputs).
            blocks = sizes.unflatten(0, (len(means), -1))
            values[weight.name] = (blocks * means[:, None].to(blocks)).flatten(0, 1)
        return Scores(values, {weight.name: weight for weight in self.weights})
