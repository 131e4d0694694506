"""Any criterion with any granularity: what the named methods are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from gps_seg.methods.method import TrainingData
from gps_seg.methods.parts import USUAL_PARTS, part_names
from gps_seg.methods.where import Where
from gps_seg.selection import (
    CRITERIA,
    GRANULARITIES,
    OF_EMBEDDINGS,
    OF_LOSS,
    Budget,
    Scores,
    SelectableWeight,
    Selection,
)
from gps_seg.sparse import make_sparse


@dataclass(frozen=True, kw_only=True)
class Select:
    """Train the entries that a criterion scores highest, as a granularity takes them.

    criterion: a key of CRITERIA. granularity: a key of GRANULARITIES. k, num, fraction: the budget,
    exactly one of them: entries per neuron on average, entries in all, share of all entries.
    temperature: of the contrastive loss. seed: of the random criterion. where: which weights to
    select from, as settings of `Where`. whole: what is trained whole besides, as `part_names` takes
    it; what no weight file filled always is.
    """

    criterion: str = 'supcon_gradient'
    granularity: str = 'neuron'
    k: int | None = None
    num: int | None = None
    fraction: float | None = None
    temperature: float = 0.07
    seed: int = 0
    where: Where | Mapping[str, Any] = field(default_factory=Where)
    whole: Sequence[str] = USUAL_PARTS

    def __post_init__(self) -> None:
        for setting, value, known in (
            ('criterion', self.criterion, CRITERIA),
            ('granularity', self.granularity, GRANULARITIES),
        ):
            if value not in known:
                raise ValueError(
                    f'there is no {setting} {value!r}; choose one of {", ".join(known)}'
                )
        Budget(self.k, self.num, self.fraction)
        if self.temperature <= 0:
            raise ValueError(f'temperature must be above 0, got {self.temperature}')
        if isinstance(self.whole, str):
            raise ValueError(f'whole must be a list of parts and patterns, got {self.whole!r}')
        object.__setattr__(self, 'where', Where.of(self.where))

    @property
    def needs_data(self) -> bool:
        return self.criterion in (*OF_EMBEDDINGS, *OF_LOSS)

    def select(self, model: nn.Module, data: TrainingData | None) -> Selection:
        assert isinstance(self.where, Where)
        scores = self.score(model, self.where.weights(model), data)
        return self.choose(scores).described(
            criterion=self.criterion, **self._settings(), **self.where.provenance()
        )

    def score(
        self, model: nn.Module, weights: list[SelectableWeight], data: TrainingData | None
    ) -> Scores:
        """The scores alone, which several granularities may share."""
        criterion = CRITERIA[self.criterion]
        if not self.needs_data:
            return criterion(weights, **self._settings())
        assert data is not None
        look = data.loss if self.criterion in OF_LOSS else data.embed
        if look is None:
            raise ValueError(
                f'the criterion {self.criterion} needs the loss of the model, and none was given; '
                'give a loss, or take the criterion supcon_gradient'
            )
        return criterion(
            model,
            weights,
            data.batches,
            look,
            progress=data.progress,
            reduce=data.reduce,
            stop=data.stop,
            **self._settings(),
        )

    def choose(self, scores: Scores) -> Selection:
        """The selection that the granularity and the budget make of scores."""
        granularity = GRANULARITIES[self.granularity]
        return granularity(scores, k=self.k, num=self.num, fraction=self.fraction)

    def _settings(self) -> dict[str, Any]:
        """The criterion's own settings."""
        if self.criterion == 'supcon_gradient':
            return {'temperature': self.temperature}
        return {'seed': self.seed} if self.criterion == 'random' else {}

    def convert(self, model: nn.Module, selection: Selection) -> None:
        # A table that is selected from is not trained whole as well.
        whole = part_names(model, self.whole) - set(selection)
        make_sparse(model, selection, whole=whole)
