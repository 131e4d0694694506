"""Gradient-based Parameter Selection."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from gps_seg.methods.method import TrainingData
from gps_seg.methods.selective import Select
from gps_seg.selection import Selection


@dataclass(frozen=True)
class GPS:
    """Gradient-based Parameter Selection (Zhang et al., CVPR 2024, arXiv:2312.10136).

    k: selected weights per output neuron. temperature: of the contrastive loss.
    """

    k: int = 1
    temperature: float = 0.07
    needs_data: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.core()

    def core(self) -> Select:
        return Select(criterion='supcon_gradient', k=self.k, temperature=self.temperature)

    def select(self, model: nn.Module, data: TrainingData | None) -> Selection:
        return self.core().select(model, data)

    def convert(self, model: nn.Module, selection: Selection) -> None:
        self.core().convert(model, selection)
