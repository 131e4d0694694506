"""The methods that train whole tensors only: the reference points of every comparison."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from gps_seg.methods.method import TrainingData
from gps_seg.methods.parts import part_names
from gps_seg.selection import Selection
from gps_seg.sparse import make_sparse

NOTHING_SELECTED = Selection({}, {'criterion': 'none'})


@dataclass(frozen=True)
class Linear:
    """The head alone (for SAM: the mask decoder), and what starts fresh."""

    needs_data: ClassVar[bool] = False

    def select(self, model: nn.Module, data: TrainingData | None) -> Selection:
        return NOTHING_SELECTED

    def convert(self, model: nn.Module, selection: Selection) -> None:
        make_sparse(model, selection, whole=part_names(model, ['heads']))


@dataclass(frozen=True)
class Bias:
    """The biases and the head (BitFit, Ben Zaken et al., arXiv:2106.10199)."""

    needs_data: ClassVar[bool] = False

    def select(self, model: nn.Module, data: TrainingData | None) -> Selection:
        return NOTHING_SELECTED

    def convert(self, model: nn.Module, selection: Selection) -> None:
        make_sparse(model, selection, whole=part_names(model))


@dataclass(frozen=True)
class Full:
    """Every parameter."""

    needs_data: ClassVar[bool] = False

    def select(self, model: nn.Module, data: TrainingData | None) -> Selection:
        return NOTHING_SELECTED

    def convert(self, model: nn.Module, selection: Selection) -> None:
        make_sparse(model, selection, whole={name for name, _ in model.named_parameters()})
