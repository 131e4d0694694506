"""Any criterion with any granularity: what the named selection methods are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from gps_seg.delta.tensors import under
from gps_seg.methods.late import Budget as StepBudget
from gps_seg.methods.late import check_train_from, late_parts
from gps_seg.methods.method import Applied, NothingLeftError, Parameters, TrainingData, train
from gps_seg.methods.parts import USUAL_PARTS, ModelParts, part_names
from gps_seg.methods.plan import Plan
from gps_seg.methods.pull import pull_to_start
from gps_seg.methods.where import Where, known_blocks
from gps_seg.selection import (
    CRITERIA,
    GRANULARITIES,
    Budget,
    Scores,
    SelectableWeight,
    Selection,
    choose,
    score,
    unselectable_weights,
)

NEEDED = {
    'embed': 'an embedding of the images: embed(images, labels), which returns embeddings (N, D) '
    'and their labels (N,)',
    'loss': 'the loss of the model: loss(images, labels), which returns a scalar',
}


@dataclass(frozen=True, kw_only=True)
class Select:
    """Train the entries that a criterion scores highest, as a granularity takes them.

    criterion: a key of CRITERIA.
    granularity: a key of GRANULARITIES.
    k, num, fraction: how many, exactly one of them: entries per neuron on average, entries in all,
        share of all entries.
    options: settings of the criterion: `temperature` of supcon_gradient, `seed` of random,
        `squares` of squared_gradient.
    where: which weights to select from, as settings of `Where`.
    whole: what is trained whole besides, as `part_names` takes it; what no weight file filled
        always is.
    pull: weighs the squared distance of what is trained from its pretrained values, which is added
        to the loss; 0 for none. Parts that started fresh are not pulled.
    pull_scope: 'all', or a number of blocks, to pull only those last ones and the head.
    train_from: the number of the first block that is trained, the share of the blocks that stay
        frozen, in [0, 1), or 'auto'; see `late_parts`.
    budget: with 'auto', what a training step may cost: settings of `CostBudget`. Without one,
        'auto' takes the block with the largest captured share of the score less its cost.
    """

    criterion: str = 'supcon_gradient'
    granularity: str = 'neuron'
    k: int | None = None
    num: int | None = None
    fraction: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    where: Where | Mapping[str, Any] = field(default_factory=Where)
    whole: Sequence[str] = USUAL_PARTS
    pull: float = 0.0
    pull_scope: int | str = 'all'
    train_from: int | float | str = 0
    budget: StepBudget | None = None

    def __post_init__(self) -> None:
        for setting, value, known in (
            ('criterion', self.criterion, CRITERIA),
            ('granularity', self.granularity, GRANULARITIES),
        ):
            if value not in known:
                raise ValueError(
                    f'there is no {setting} {value!r}; choose one of {", ".join(known)}'
                )
        self.entry_budget  # noqa: B018  raises for none, two or a wrong one
        if isinstance(self.whole, str):
            raise ValueError(f'whole must be a list of parts and patterns, got {self.whole!r}')
        if self.pull < 0:
            raise ValueError(f'pull must be at least 0, got {self.pull}')
        if self.pull_scope != 'all' and (
            not isinstance(self.pull_scope, int) or self.pull_scope < 1
        ):
            raise ValueError(
                f"pull_scope must be 'all' or a number of last blocks, got {self.pull_scope!r}"
            )
        budget = check_train_from(self.train_from, self.budget, has_score=True)
        object.__setattr__(self, 'budget', budget)
        object.__setattr__(self, 'where', Where.of(self.where))
        assert isinstance(self.where, Where)
        if self.where.heads and 'heads' in self.whole:
            raise ValueError(
                "where.heads selects in the head, and 'heads' in whole trains all of it; leave one "
                "of the two out, such as by whole=['biases']"
            )
        # Refuses unknown options now, not after hours of images.
        CRITERIA[self.criterion]((), _nothing, **self.options)

    @property
    def entry_budget(self) -> Budget:
        """How many entries are selected."""
        return Budget(self.k, self.num, self.fraction)

    @property
    def needs_data(self) -> bool:
        return CRITERIA[self.criterion].needs != 'nothing'

    def plan(self, model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Plan:
        scores = self.scores(model, late_parts(model, parts, self.train_from), data)
        return self.plan_of(model, parts, scores)

    def scores(self, model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Scores:
        """The scores of all weights that entries are selected from."""
        assert isinstance(self.where, Where)
        parts = self.where.reach(model, parts)
        return self.score(model, parts, self.where.weights(model, parts), data)

    def plan_of(self, model: nn.Module, parts: ModelParts, scores: Scores) -> Plan:
        """The plan that scores make, which may cover more blocks than are trained.

        Raises NothingLeftError where all of them lie below the first trained block, or are zero.
        """
        assert isinstance(self.where, Where)
        parts = self._reached(model, parts)
        scores = scores.without(parts.below)
        if scores.all_zero():
            raise NothingLeftError(
                f'nothing from {parts.first_block} on has a score above zero; start earlier'
            )
        refused = [
            f'{name} ({why})'
            for name, why in unselectable_weights(model).items()
            if under(name, parts.backbone) and not under(name, parts.head)
            if name not in parts.below
        ]
        left_out = {'unselectable': ', '.join(refused)} if refused else {}
        return Plan(
            self.choose(scores).described(
                criterion=self.criterion,
                **self.options,
                **self.where.provenance(),
                **({'train_from': self.train_from} if self.train_from else {}),
                **left_out,
            )
        )

    def score(
        self,
        model: nn.Module,
        parts: ModelParts,
        weights: list[SelectableWeight],
        data: TrainingData | None,
    ) -> Scores:
        """The scores alone, which several granularities may share."""
        criterion = CRITERIA[self.criterion]
        if not self.needs_data:
            return score(model, criterion(weights, None, **self.options), ())
        look = parts.embed if criterion.needs == 'embed' else parts.loss
        if look is None:
            raise ValueError(
                f'the criterion {self.criterion} needs {NEEDED[criterion.needs]}; the model '
                f'({type(model).__name__}) offers none: name it in '
                f'gps_seg.tune(model, loader, {criterion.needs}=...), or in tunable_parts()'
            )
        assert data is not None
        return score(
            model,
            criterion(weights, look, **self.options),
            data.batches,
            progress=data.progress,
            reduce=data.reduce,
            stop=data.stop,
        )

    def choose(self, scores: Scores) -> Selection:
        """The selection that the granularity and the budget make of scores."""
        return choose(scores, self.granularity, self.entry_budget)

    def apply(self, model: nn.Module, parts: ModelParts, plan: Plan) -> Applied:
        reached = self._reached(model, parts)
        parts = late_parts(model, parts, self.train_from)
        # What was scored, but never above zero, is not trained whole instead.
        unscored = plan.provenance.get('unscored', '').split(',')
        whole = part_names(model, reached, self.whole) - set(unscored)
        penalty = partial(self._pull, model, parts) if self.pull else None
        return train(model, plan, whole, parts=parts, penalty=penalty)

    def _reached(self, model: nn.Module, parts: ModelParts) -> ModelParts:
        assert isinstance(self.where, Where)
        # In this order: what comes before a block is told without the head.
        return self.where.reach(model, late_parts(model, parts, self.train_from))

    def _pull(self, model: nn.Module, parts: ModelParts, trained: Parameters) -> Any:
        pulled = {n: p for n, p in trained.items() if n not in parts.fresh}
        if self.pull_scope != 'all':
            last = known_blocks(parts)[-int(self.pull_scope) :]
            pulled = {n: p for n, p in pulled.items() if under(n, last) or under(n, parts.head)}
        return pull_to_start(pulled, coefficient=self.pull)


def _nothing(micro_batch: Any) -> Tensor:
    raise AssertionError('a criterion without weights looks at no images')
