"""Training whole tensors only: the reference points of every comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from gps_seg.methods.late import Budget, check_train_from, late_parts
from gps_seg.methods.method import Applied, TrainingData, train
from gps_seg.methods.parts import ModelParts, part_names
from gps_seg.methods.plan import Plan
from gps_seg.selection import Selection


@dataclass(frozen=True, kw_only=True)
class WholeTensors:
    """Train some parts of a model whole, as `part_names` takes them, and what started fresh.

    train_from: the number of the first block that is trained, the share of the blocks that stay
        frozen, in [0, 1), or 'auto'; see `late_parts`.
    budget: with 'auto', what a training step may cost: settings of `CostBudget`.
    """

    whole: Sequence[str]
    train_from: int | float | str = 0
    budget: Budget | None = None
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.whole, str):
            raise ValueError(f'whole must be a list of parts and patterns, got {self.whole!r}')
        budget = check_train_from(self.train_from, self.budget)
        object.__setattr__(self, 'budget', budget)

    def plan(self, model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Plan:
        return Plan(Selection({}, {'criterion': 'none'}))

    def apply(self, model: nn.Module, parts: ModelParts, plan: Plan) -> Applied:
        parts = late_parts(model, parts, self.train_from)
        return train(model, plan, part_names(model, parts, self.whole), parts=parts)
