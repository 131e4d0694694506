"""Gradient-based fine-tuning of whole rows or columns, held near the pretrained values."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from gps_seg.methods.method import TrainingData
from gps_seg.methods.parts import fresh_names, head_names
from gps_seg.methods.selective import Select
from gps_seg.methods.where import block_names
from gps_seg.selection import Selection
from gps_seg.sparse import attach_pull

LINES = ('rows', 'columns', 'auto')


@dataclass(frozen=True, kw_only=True)
class GRFT:
    """Whole rows or columns with the largest squared gradients (GRFT, arXiv:2507.00016).

    lines: 'rows', 'columns', or 'auto' for whichever captures more of each weight. k, num,
    fraction: the budget, exactly one; never exceeded. pull: weighs the squared distance of what is
    trained from its pretrained values, which is added to the loss (0: none). pull_scope: 'all', or
    a number of blocks, to pull only those last ones and the head. Parts that started fresh have no
    pretrained values and are not pulled.
    """

    lines: str = 'auto'
    k: int | None = None
    num: int | None = None
    fraction: float | None = None
    pull: float = 1e-3
    pull_scope: int | str = 'all'
    needs_data: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.lines not in LINES:
            raise ValueError(f'lines must be one of {", ".join(LINES)}, got {self.lines!r}')
        if self.pull < 0:
            raise ValueError(f'pull must be at least 0, got {self.pull}')
        if self.pull_scope != 'all' and (
            not isinstance(self.pull_scope, int) or self.pull_scope < 1
        ):
            raise ValueError(
                f"pull_scope must be 'all' or a number of last blocks, got {self.pull_scope!r}"
            )
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

    def convert(self, model: nn.Module, selection: Selection) -> None:
        self.core().convert(model, selection)
        if self.pull:
            attach_pull(model, coefficient=self.pull, without=self._free_names(model))

    def _free_names(self, model: nn.Module) -> set[str]:
        """Names of the parameters that are not pulled."""
        if self.pull_scope == 'all':
            return fresh_names(model)
        names = {name.removesuffix('_values') for name, _ in model.named_parameters()}
        last = tuple(f'{block}.' for block in block_names(model)[-int(self.pull_scope) :])
        pulled = {name for name in names if name.startswith(last)} | head_names(model)
        return (names - pulled) | fresh_names(model)
