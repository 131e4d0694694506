"""The scores of many images: means, and how sure they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gps_seg.evaluation import foreground_scores
from gps_seg.prediction.measuring import table_text
from gps_seg.prediction.scoring import ImageScore

RESAMPLES = 1000
PERCENTILES = (2.5, 97.5)

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over images with the interval in which 95 % of the bootstrap's means lie.

    num: images that have this score.
    """

    value: float
    low: float
    high: float
    num: int


def bootstrap_weights(num: int, *, resamples: int = RESAMPLES, seed: int = 0) -> Values:
    """How often each of `num` images is drawn in each resample, (resamples, num)."""
    draws = np.random.default_rng(seed).multinomial(num, np.full(num, 1 / num), size=resamples)
    return draws.astype(np.float64)


def mean_of(values: Values, weights: Values) -> Estimate:
    """The mean over images, and its percentile interval over resamples of images.

    values: (num,), nan where an image has no such score: it is left out. weights: as from
    `bootstrap_weights`. Without any score, all is nan.
    """
    known = ~np.isnan(values)
    if not known.any():
        return Estimate(float('nan'), float('nan'), float('nan'), 0)
    drawn = weights @ known
    sums = weights @ np.where(known, values, 0.0)
    means = sums[drawn > 0] / drawn[drawn > 0]
    low, high = np.percentile(means, PERCENTILES)
    return Estimate(float(values[known].mean()), float(low), float(high), int(known.sum()))


def summarise(scores: Sequence[ImageScore], *, seed: int = 0) -> dict[str, Estimate]:
    """The scores of a data set by name; Dice, IoU and surface Dice in percent, HD95 in pixels.

    Names as `foreground_scores` gives them, and `surface_Dice` and `HD95`.
    """
    if not scores:
        raise ValueError('no image to score')
    weights = bootstrap_weights(len(scores), seed=seed)
    counts = np.stack([score.counts for score in scores])
    estimates = {
        'mDice': mean_of(np.array([score.dice for score in scores]), weights),
        'mIoU': mean_of(np.array([score.iou for score in scores]), weights),
    }
    flat = counts.reshape(len(counts), -1)
    resampled = (weights @ flat).reshape(-1, *counts.shape[1:])
    pooled = [foreground_scores(one[None]) for one in resampled]
    for name, value in foreground_scores(counts).items():
        if name not in estimates:
            low, high = np.percentile([one[name] for one in pooled], PERCENTILES)
            estimates[name] = Estimate(value, float(low), float(high), len(scores))
    for name, values in (
        ('surface_Dice', [score.surface_dice for score in scores]),
        ('HD95', [score.hd95 for score in scores]),
    ):
        estimates[name] = mean_of(np.array(values), weights)
    return estimates


def remarks(scores: Sequence[ImageScore]) -> list[str]:
    """What the means leave out, in words."""
    lines = []
    without = sum(np.isnan(score.hd95) for score in scores)
    if without:
        missed = sum(score.missed > 0 for score in scores)
        invented = sum(score.invented > 0 for score in scores)
        empty = sum(score.is_empty for score in scores)
        lines.append(
            f'HD95 is over {len(scores) - without} of {len(scores)} images: a distance needs an '
            f'object in both masks ({missed} images with an object that was missed, {invented} '
            f'with an invented one, {empty} empty in both)'
        )
    if len(scores) < 20:
        lines.append(f'{len(scores)} images are few: the intervals are rough')
    return lines


def csv_of(scores: Sequence[ImageScore]) -> str:
    """A line for each image, the worst Dice first."""
    header = ('image', 'Dice', 'IoU', 'surface_Dice', 'HD95', 'missed', 'invented')
    rows = [
        (
            score.name,
            *(f'{value:.4f}' for value in (score.dice, score.iou, score.surface_dice)),
            '' if np.isnan(score.hd95) else f'{score.hd95:.4f}',
            str(score.missed),
            str(score.invented),
        )
        for score in sorted(scores, key=lambda score: score.dice)
    ]
    return table_text(rows, header)
