"""Gradient-based Parameter Selection."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from gps_seg.methods.method import TrainingData
from gps_seg.methods.selective import train_selected, weights_to_select
from gps_seg.selection import Selection, neuron, supcon_gradient


@dataclass(frozen=True)
class GPS:
    """Gradient-based Parameter Selection (Zhang et al., CVPR 2024, arXiv:2312.10136).

    k: selected weights per output neuron. temperature: of the contrastive loss.
    """

    k: int = 1
    temperature: float = 0.07
    needs_data: ClassVar[bool] = True

    def prepare(self, model: nn.Module, data: TrainingData | None) -> Selection:
        assert data is not None
        scores = supcon_gradient(
            model,
            weights_to_select(model),
            data.batches,
            data.embed,
            temperature=self.temperature,
            progress=data.progress,
        )
        selection = neuron(scores, k=self.k).described(
            criterion='supcon_gradient', temperature=self.temperature
        )
        self.restore(model, selection)
        return selection

    def restore(self, model: nn.Module, selection: Selection) -> None:
        train_selected(model, selection)
