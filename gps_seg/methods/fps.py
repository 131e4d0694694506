"""Feedforward-based Parameter Selection."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from gps_seg.methods.method import TrainingData
from gps_seg.methods.selective import Select
from gps_seg.selection import Selection


@dataclass(frozen=True)
class FPS:
    """Feedforward-based Parameter Selection (arXiv:2510.27359): GPS without its gradient pass.

    k: selected weights per output neuron, those with the largest |w| * mean |a|. The forward pass
    is that of the embedding: the backbone, without the head.
    """

    k: int = 1
    needs_data: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.core()

    def core(self) -> Select:
        return Select(criterion='weight_activation', k=self.k)

    def select(self, model: nn.Module, data: TrainingData | None) -> Selection:
        return self.core().select(model, data)

    def convert(self, model: nn.Module, selection: Selection) -> None:
        self.core().convert(model, selection)
