"""The control that every selection must beat."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from gps_seg.methods.method import TrainingData
from gps_seg.methods.selective import check_k, train_selected, weights_to_select
from gps_seg.selection import Scores, Selection, neuron, random


@dataclass(frozen=True)
class Random:
    """As many entries per neuron as GPS, drawn at random; everything else as in GPS."""

    k: int = 1
    seed: int = 0
    needs_data: ClassVar[bool] = False
    selects: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_k(self.k)

    def select(self, model: nn.Module, data: TrainingData | None) -> Selection:
        return self.choose(random(weights_to_select(model), seed=self.seed))

    def choose(self, scores: Scores) -> Selection:
        return neuron(scores, k=self.k).described(criterion='random', seed=self.seed)

    def convert(self, model: nn.Module, selection: Selection) -> None:
        train_selected(model, selection)
