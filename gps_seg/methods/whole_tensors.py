"""Training whole tensors only: the reference points of every comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from gps_seg.methods.method import Applied, TrainingData, train
from gps_seg.methods.parts import ModelParts, part_names
from gps_seg.methods.plan import Plan
from gps_seg.selection import Selection


@dataclass(frozen=True, kw_only=True)
class WholeTensors:
    """Train some parts of a model whole, as `part_names` takes them, and what started fresh."""

    whole: Sequence[str]
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.whole, str):
            raise ValueError(f'whole must be a list of parts and patterns, got {self.whole!r}')

    def plan(self, model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Plan:
        return Plan(Selection({}, {'criterion': 'none'}))

    def apply(self, model: nn.Module, parts: ModelParts, plan: Plan) -> Applied:
        return train(model, plan, part_names(model, parts, self.whole))
