"""Gradient-based fine-tuning of whole rows or columns, held near the pretrained values."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from gps_seg.methods.method import TrainingData
from gps_seg.methods.parts import fresh_names
from gps_seg.methods.select import Select
from gps_seg.selection import Scores, Selection
from gps_seg.sparse import attach_pull

LINES = ('rows', 'columns', 'auto')


@dataclass(frozen=True, kw_only=True)
class GRFT:
    """Whole rows or columns with the largest squared gradients (GRFT, arXiv:2507.00016).

    lines: 'rows', 'columns', or 'auto' for whichever captures more of each weight. k, num,
    fraction: the budget, exactly one; never exceeded. pull: weighs the squared distance of what is
    trained from its pretrained values, which is added to the loss (0: none). Parts that started
    fresh have no such values and are not pulled.
    """

    lines: str = 'auto'
    k: int | None = None
    num: int | None = None
    fraction: float | None = None
    pull: float = 1e-3
    needs_data: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.lines not in LINES:
            raise ValueError(f'lines must be one of {", ".join(LINES)}, got {self.lines!r}')
        if self.pull < 0:
            raise ValueError(f'pull must be at least 0, got {self.pull}')
        self.core()

    def core(self) -> Select:
        return Select(
            criterion='squared_gradient',
            granularity=self.lines,
            k=self.k,
            num=self.num,
            fraction=self.fraction,
        )

    def select(self, model: nn.Module, data: TrainingData | None) -> Selection:
        return self.core().select(model, data)

    def choose(self, scores: Scores) -> Selection:
        return self.core().choose(scores)

    def convert(self, model: nn.Module, selection: Selection) -> None:
        self.core().convert(model, selection)
        if self.pull:
            attach_pull(model, coefficient=self.pull, without=fresh_names(model))
