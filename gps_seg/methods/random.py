"""The control that every selection must beat."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from gps_seg.methods.method import TrainingData
from gps_seg.methods.selective import Select
from gps_seg.selection import Selection


@dataclass(frozen=True)
class Random:
    """As many entries per neuron as GPS, drawn at random; everything else as in GPS."""

    k: int = 1
    seed: int = 0
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.core()

    def core(self) -> Select:
        return Select(criterion='random', k=self.k, seed=self.seed)

    def select(self, model: nn.Module, data: TrainingData | None) -> Selection:
        return self.core().select(model, data)

    def convert(self, model: nn.Module, selection: Selection) -> None:
        self.core().convert(model, selection)
