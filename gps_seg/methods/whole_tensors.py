"""Training whole tensors only: the reference points of every comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from gps_seg.delta.tensors import under
from gps_seg.methods.late import Budget, check_train_from, late_parts
from gps_seg.methods.method import Applied, NothingLeftError, TrainingData, train
from gps_seg.methods.parts import ModelParts, norms, part_names
from gps_seg.methods.plan import Plan
from gps_seg.selection import Selection
from gps_seg.sparse.norms import STATISTICS


@dataclass(frozen=True, kw_only=True)
class WholeTensors:
    """Train some parts of a model whole, as `part_names` takes them, and what started fresh.

    statistics: whether the batch norms of the backbone that are trained gather statistics; without,
        they stay in eval mode, with those of the base.
    train_from: the number of the first block that is trained, the share of the blocks that stay
        frozen, in [0, 1), or 'auto'; see `late_parts`.
    budget: with 'auto', what a training step may cost: settings of `CostBudget`.
    """

    whole: Sequence[str]
    statistics: bool = True
    train_from: int | float | str = 0
    budget: Budget | None = None
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.whole, str):
            raise ValueError(f'whole must be a list of parts and patterns, got {self.whole!r}')
        budget = check_train_from(self.train_from, self.budget)
        object.__setattr__(self, 'budget', budget)

    def plan(self, model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Plan:
        late = late_parts(model, parts, self.train_from)
        if 'norms' in self.whole and not norms(model, late):
            raise NothingLeftError(
                f'the backbone of {type(model).__name__} has no normalisation layer with scales or '
                'biases that can be trained (none, or all are frozen or fresh); choose another '
                'method, such as bias'
            )
        return Plan(Selection({}, {'criterion': 'none'}))

    def apply(self, model: nn.Module, parts: ModelParts, plan: Plan) -> Applied:
        parts = late_parts(model, parts, self.train_from)
        still = () if self.statistics else gathering(model, parts)
        return train(model, plan, part_names(model, parts, self.whole), parts=parts, still=still)


def gathering(model: nn.Module, parts: ModelParts) -> list[str]:
    """Paths of the layers of the backbone that gather statistics in training mode.

    Those of the head, and of what starts fresh, are not among them: nothing else fills theirs.
    """
    fresh = {name.rpartition('.')[0] for name in parts.fresh}
    return [
        path
        for path, module in model.named_modules()
        if any(module._buffers.get(name) is not None for name in STATISTICS)
        and under(path, parts.backbone)
        and not under(path, parts.head)
        and path not in fresh
    ]
