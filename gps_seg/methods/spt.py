"""Sensitivity-aware tuning: one budget for single entries and for structured modules."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from torch import nn

from gps_seg.methods.adapter import AddedBottleneck
from gps_seg.methods.late import AUTO, check_train_from, late_parts
from gps_seg.methods.lora import LowRankChange
from gps_seg.methods.method import Applied, TrainingData, check_lists, train
from gps_seg.methods.parts import ModelParts, part_names
from gps_seg.methods.plan import Plan
from gps_seg.methods.select import Select
from gps_seg.methods.where import Where
from gps_seg.selection import Budget, Scores, Selection, choose

STRUCTURES = ('lora', 'adapter')


@dataclass(frozen=True)
class Structure:
    """A module that a weight can get instead of single entries.

    path: of the host. spec: of the module. cost: how many numbers it trains.
    """

    path: str
    spec: Mapping[str, Any]
    cost: int


@dataclass(frozen=True, kw_only=True)
class SPT:
    """Sensitivity-aware tuning (He et al., arXiv:2303.08481), SPT-LoRA and SPT-Adapter.

    The sensitivity of an entry is its squared gradient of the task loss, summed over the batches.
    The budget goes to the most sensitive entries of the whole backbone. A weight that holds at
    least as many of them as a structured module would train gets this module instead; what the
    module does not need goes to the next most sensitive entries, until the budget is spent exactly.

    Entries cost nothing at inference. LoRA modules can be merged, adapters cannot.

    structure: 'lora' (a low-rank change of the whole weight: linear layers, ungrouped convolutions,
        in-projections) or 'adapter' (a bottleneck behind the layer: linear layers that the images
        pass through).
    rank: inner size of a module (published: 8).
    k, num, fraction: how much is trained, exactly one of them: trained numbers per neuron on
        average, in all, or as a share of the entries of the backbone's weights.
    where: which weights are looked at, as settings of `Where`.
    whole: what is trained whole besides, as `part_names` takes it.
    seed: of the initial values.
    train_from: the number of the first block that is trained, or the share of the blocks that stay
        frozen, in [0, 1); see `late_parts`. 'auto' is refused.
    """

    structure: str
    rank: int = 8
    k: int | None = None
    num: int | None = None
    fraction: float | None = None
    where: Where | Mapping[str, Any] = field(default_factory=Where)
    whole: Sequence[str] = ('heads',)
    seed: int = 0
    train_from: int | float | str = 0
    needs_data: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.structure not in STRUCTURES:
            raise ValueError(
                f'structure must be one of {", ".join(STRUCTURES)}, got {self.structure!r}'
            )
        if self.rank < 1:
            raise ValueError(f'rank must be at least 1, got {self.rank}')
        check_lists(self, 'whole')
        self.entry_budget  # noqa: B018  raises for none, two or a wrong one
        if self.train_from == AUTO:
            raise ValueError(
                "train_from='auto' cannot be decided for this method, since its modules come from "
                'the pass over the images that planning makes; give the number of a block, or a '
                'share of the blocks'
            )
        check_train_from(self.train_from)
        object.__setattr__(self, 'where', Where.of(self.where))

    @property
    def entry_budget(self) -> Budget:
        """How many numbers are trained besides `whole`."""
        return Budget(self.k, self.num, self.fraction)

    def plan(self, model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Plan:
        assert isinstance(self.where, Where)
        parts = late_parts(model, parts, self.train_from)
        # The criterion alone is taken from it: squared gradients of the task loss.
        scorer = Select(criterion='squared_gradient', k=1, where=self.where)
        with _called(model) as called:
            scores = scorer.score(model, parts, self.where.weights(model, parts), data)
        structures = dict(self._structures(model, scores, called))
        selection, structured = divided(
            scores, self.entry_budget, {name: made.cost for name, made in structures.items()}
        )
        added = {structures[n].path: structures[n].spec for n in scores if n in structured}
        kept = {k: v for k, v in selection.provenance.items() if k in ('granularity', 'unscored')}
        return Plan(Selection(selection.entries, kept).described(**self._provenance()), added)

    def apply(self, model: nn.Module, parts: ModelParts, plan: Plan) -> Applied:
        other = {spec['type'] for spec in plan.added.values()} - {self.structure}
        if other:
            raise ValueError(
                f'the plan adds modules of the type {other.pop()}, this method trains '
                f'{self.structure}; make the plan with the same structure'
            )
        parts = late_parts(model, parts, self.train_from)
        unscored = plan.provenance.get('unscored', '').split(',')
        whole = part_names(model, parts, self.whole) - set(unscored)
        return train(model, plan, whole, parts=parts)

    def _provenance(self) -> dict[str, Any]:
        assert isinstance(self.where, Where)
        late = {'train_from': self.train_from} if self.train_from else {}
        return {
            'criterion': 'squared_gradient',
            'structure': self.structure,
            'rank': self.rank,
            **self.entry_budget.settings(),
            **self.where.provenance(),
            **late,
        }

    def _structures(
        self, model: nn.Module, scores: Scores, called: set[str]
    ) -> Iterator[tuple[str, Structure]]:
        """The module that each weight could get, by the weight's name."""
        for name, matrix in scores.items():
            path, _, attribute = name.rpartition('.')
            layer, weight = model.get_submodule(path), scores.weights[name]
            seed = zlib.crc32(f'{self.seed}/{path}'.encode())
            made: Any
            if self.structure == 'adapter':
                if path not in called or not isinstance(layer, nn.Linear):
                    continue
                made = AddedBottleneck(layer.out_features, self.rank, -1, seed)
                cost = (2 * self.rank + 1) * layer.out_features + self.rank
            else:
                if attribute not in ('weight', 'in_proj_weight') or weight.transposed_groups:
                    continue
                fits = isinstance(layer, nn.Linear | nn.Conv2d | nn.MultiheadAttention)
                if not fits or getattr(layer, 'groups', 1) != 1 or weight.table:
                    continue
                made = LowRankChange(self.rank, 1.0, [[0, len(matrix)]], seed)
                cost = self.rank * sum(matrix.shape)
            yield name, Structure(path, {'type': self.structure, **asdict(made)}, cost)


def spt_lora(rank: int = 8, **rest: Any) -> SPT:
    """Low-rank changes where many entries of a weight are sensitive, single entries elsewhere.

    rank: of the low-rank changes. rest: the budget and the other settings of `SPT`.
    """
    return SPT(structure='lora', rank=rank, **rest)


def spt_adapter(rank: int = 8, **rest: Any) -> SPT:
    """Bottlenecks where many entries of a weight are sensitive, single entries elsewhere.

    rank: the width of the bottlenecks. rest: the budget and the other settings of `SPT`.
    """
    return SPT(structure='adapter', rank=rank, **rest)


def divided(
    scores: Scores, budget: Budget, costs: Mapping[str, int]
) -> tuple[Selection, frozenset[str]]:
    """Divide a budget between single entries and structured modules (arXiv:2303.08481, eq. 5).

    scores: sensitivities, of every weight.
    costs: what a module trains, by the name of each weight that can have one.

    Returns the entries, and the names of the weights that get a module. Together they train as many
    numbers as the budget says; fewer where all other weights are trained whole by then.
    Raises ValueError if every score is zero, or the budget does not fit.
    """
    selection = choose(scores, 'net', budget)
    left = selection.num_entries
    structured: set[str] = set()
    while True:
        new = {n for n, entries in selection.items() if entries.num >= costs.get(n, left + 1)}
        if not new:
            return selection, frozenset(structured)
        structured |= new
        # A module trains no more than the entries that it replaces: this stays at least zero.
        left -= sum(costs[name] for name in new)
        others = scores.without(structured)
        possible = sum(m.numel() for m in others.values() if bool(m.any()))
        left = min(left, possible)
        if not left:
            return Selection({}, selection.provenance), frozenset(structured)
        selection = choose(others, 'net', Budget(num=left))


@contextmanager
def _called(model: nn.Module) -> Iterator[set[str]]:
    """Collects the paths of the linear layers whose forward is called within the block.

    The weight of some is read past their forward (`nn.MultiheadAttention` reads its projection's),
    so that a module behind them would never be reached.
    """
    called: set[str] = set()

    def note(path: str) -> Any:
        return lambda layer, args: called.add(path)

    hooks = [
        layer.register_forward_pre_hook(note(path))
        for path, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        yield called
    finally:
        for hook in hooks:
            hook.remove()
