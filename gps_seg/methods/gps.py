"""Gradient-based Parameter Selection."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from gps_seg.methods.method import TrainingData
from gps_seg.methods.selective import check_k, train_selected, weights_to_select
from gps_seg.selection import Selection, neuron, supcon_gradient


@dataclass(frozen=True)
class GPS:
    """Gradient-based Parameter Selection (Zhang et al., CVPR 2024, arXiv:2312.10136).

    k: selected weights per output neuron. temperature: of the contrastive loss.
    """

    k: int = 1
    temperature: float = 0.07
    needs_data: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_k(self.k)
        if self.temperature <= 0:
            raise ValueError(f'temperature must be above 0, got {self.temperature}')

    def select(self, model: nn.Module, data: TrainingData | None) -> Selection:
        assert data is not None
        scores = supcon_gradient(
            model,
            weights_to_select(model),
            data.batches,
            data.embed,
            temperature=self.temperature,
            progress=data.progress,
            reduce=data.reduce,
        )
        return neuron(scores, k=self.k).described(
            criterion='supcon_gradient', temperature=self.temperature
        )

    def convert(self, model: nn.Module, selection: Selection) -> None:
        train_selected(model, selection)
