"""Whether two methods differ or tie: a bootstrap over the test images and the spread over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = 95
SEED = 0
# Image scores are written with four digits; their mean must be the score up to rounding.
TOLERANCE = 0.01

_DRAWN_AT_ONCE = 2_000_000  # bounds the memory for large test sets

Verdict: TypeAlias = Literal['difference', 'tie', 'unsettled']


@dataclass(frozen=True)
class Runs:
    """Test scores of a method, in percent: by seed, and by seed and image if they were kept."""

    scores: Mapping[int, float]
    images: Mapping[int, Mapping[str, float]]


@dataclass(frozen=True)
class Comparison:
    """How far a method is above another one, in points; negative: below.

    interval: of the difference, over test images; None, with the reason in `why`, if there is none.
    seed_range: the larger of the two ranges over seeds; None with a single seed.
    """

    difference: float
    interval: tuple[float, float] | None
    seed_range: float | None
    seeds: tuple[int, ...]
    why: str = ''

    @property
    def within_seeds(self) -> bool:
        return self.seed_range is not None and abs(self.difference) <= self.seed_range

    @property
    def verdict(self) -> Verdict:
        """By the rule that `RULE` states.

        >>> Comparison(1.5, (0.4, 2.6), 0.6, (0, 1)).verdict
        'difference'
        >>> Comparison(1.5, (0.4, 2.6), 1.8, (0, 1)).verdict
        'tie'
        >>> Comparison(1.5, (0.4, 2.6), None, (0,)).verdict
        'unsettled'
        """
        if self.within_seeds or (self.interval and self.interval[0] <= 0 <= self.interval[1]):
            return 'tie'
        return 'unsettled' if self.seed_range is None or self.interval is None else 'difference'


RULE = (
    f'Two methods tie if the {LEVEL} % interval of their difference contains zero (paired '
    f'bootstrap over the test images, scores averaged over the seeds, {RESAMPLES:,} resamples), '
    'or if the difference is no larger than the range over seeds of either method. A difference '
    'of single runs, or one without scores of single images, that is no tie is called not settled.'
)


def compare(first: Runs, second: Runs) -> Comparison | None:
    """Compare two methods over the seeds that both have; None if they share none.

    first, second: scores in percent. Returns `first` minus `second`.
    """
    seeds = tuple(sorted(first.scores.keys() & second.scores.keys()))
    if not seeds:
        return None
    values = [np.array([runs.scores[seed] for seed in seeds]) for runs in (first, second)]
    difference = float(values[0].mean() - values[1].mean())
    ranges = [float(np.ptp(value)) for value in values]
    seed_range = max(ranges) if len(seeds) > 1 else None
    pairs, why = _paired_images(first, second, seeds)
    interval = None if pairs is None else bootstrap_interval(pairs)
    return Comparison(difference, interval, seed_range, seeds, why)


def bootstrap_interval(
    differences: NDArray[np.float64], *, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """The percentile interval of a mean under resampling of its terms (Efron 1979).

    differences: (images,), of two methods on the same images. Returns the `LEVEL` % interval.
    """
    draw = np.random.default_rng(seed)
    at_once = max(1, _DRAWN_AT_ONCE // len(differences))
    means = [
        differences[draw.integers(0, len(differences), (count, len(differences)))].mean(axis=1)
        for count in _parts(resamples, at_once)
    ]
    tail = (100 - LEVEL) / 200
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def _parts(total: int, size: int) -> list[int]:
    return [size] * (total // size) + ([total % size] if total % size else [])


def _paired_images(
    first: Runs, second: Runs, seeds: Sequence[int]
) -> tuple[NDArray[np.float64] | None, str]:
    """Differences of image scores averaged over the seeds, or why there are none."""
    averaged = []
    for runs in (first, second):
        if any(not runs.images.get(seed) for seed in seeds):
            return None, 'no scores of single images'
        names = {frozenset(runs.images[seed]) for seed in seeds}
        if len(names) > 1:
            return None, 'the seeds were tested on different images'
        for seed in seeds:
            mean = float(np.mean(list(runs.images[seed].values())))
            if abs(mean - runs.scores[seed]) > TOLERANCE:
                return None, (
                    f'the score, {runs.scores[seed]:.2f}, is not the mean over images, {mean:.2f}'
                )
        averaged.append(
            {name: np.mean([runs.images[seed][name] for seed in seeds]) for name in min(names)}
        )
    if averaged[0].keys() != averaged[1].keys():
        return None, 'the methods were tested on different images'
    if len(averaged[0]) < 2:
        return None, 'a single test image'
    # Sorted, so that the resamples do not depend on the order of the files' lines.
    names_in_order = sorted(averaged[0])
    return np.array([averaged[0][name] - averaged[1][name] for name in names_in_order]), ''
