"""Any criterion with any granularity: what the named methods are made of."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from gps_seg.methods.method import TrainingData
from gps_seg.methods.selective import train_selected, weights_to_select
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


@dataclass(frozen=True, kw_only=True)
class Select:
    """Train the entries that a criterion scores highest, as a granularity takes them.

    criterion: a key of CRITERIA. granularity: a key of GRANULARITIES. k, num, fraction: the budget,
    exactly one of them: entries per neuron on average, entries in all, share of all entries.
    temperature: of the contrastive loss. seed: of the random criterion.
    """

    criterion: str = 'supcon_gradient'
    granularity: str = 'neuron'
    k: int | None = None
    num: int | None = None
    fraction: float | None = None
    temperature: float = 0.07
    seed: int = 0

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

    @property
    def needs_data(self) -> bool:
        return self.criterion in (*OF_EMBEDDINGS, *OF_LOSS)

    def select(self, model: nn.Module, data: TrainingData | None) -> Selection:
        scores = self.score(model, weights_to_select(model), data)
        return self.choose(scores).described(criterion=self.criterion, **self._settings())

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
        train_selected(model, selection)
