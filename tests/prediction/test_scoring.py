"""Scores of single images and of many, against NumPy."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

import gps_seg
from gps_seg.datasets.specs import MaskFolder
from gps_seg.prediction.pair_scores import score_pairs
from gps_seg.prediction.pairs import Pair, pairs_of_folder
from gps_seg.prediction.scoring import ImageScore, score_image
from gps_seg.prediction.summary import (
    bootstrap_weights,
    csv_of,
    mean_of,
    remarks,
    summarise,
)
from tests.prediction.conftest import Runs

Mask = np.ndarray


def disc(centre: tuple[int, int], radius: int, size: tuple[int, int] = (60, 70)) -> Mask:
    mask = np.zeros(size, np.uint8)
    cv2.circle(mask, centre, radius, 1, -1)
    return mask


def edge_of(mask: Mask) -> Mask:
    """The pixels of an object with a neighbour outside it, (N, 2)."""
    padded = np.pad(mask, 1)
    inner = (
        padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:] & mask
    ).astype(bool)
    return np.argwhere(mask.astype(bool) & ~inner)


def distances(one: Mask, other: Mask) -> Mask:
    """From every edge pixel of one to the nearest of the other, by comparing all pairs."""
    first, second = edge_of(one), edge_of(other)
    return np.sqrt(((first[:, None] - second[None]) ** 2).sum(axis=-1)).min(axis=1)


def test_surfaces_agree_with_all_pairs_of_edge_pixels() -> None:
    predicted, truth = disc((30, 28), 14), disc((35, 30), 17)
    there, back = distances(predicted, truth), distances(truth, predicted)
    score = score_image('x', predicted, truth, 2, tolerance=3)
    expected = max(np.percentile(there, 95), np.percentile(back, 95))
    assert score.hd95 == pytest.approx(expected, abs=1e-4)
    close = (there <= 3).sum() + (back <= 3).sum()
    assert score.surface_dice == pytest.approx(100 * close / (len(there) + len(back)), abs=1e-4)
    both = (predicted & truth).sum()
    assert score.dice == pytest.approx(200 * both / (predicted.sum() + truth.sum()))
    assert score.iou == pytest.approx(100 * both / (predicted | truth).sum())


def test_equal_masks_agree_wholly() -> None:
    score = score_image('x', disc((30, 30), 9), disc((30, 30), 9), 2)
    assert (score.dice, score.surface_dice, score.hd95) == (100, 100, 0)


def test_empty_masks_are_counted_and_never_nan_in_the_means() -> None:
    full, empty = disc((30, 30), 9), np.zeros((60, 70), np.uint8)
    scores = [
        score_image('both', empty, empty, 2),
        score_image('missed', empty, full, 2),
        score_image('invented', full, empty, 2),
        score_image('found', full, full, 2),
    ]
    assert [score.dice for score in scores] == [100, 0, 0, 100]
    assert [score.surface_dice for score in scores] == [100, 0, 0, 100]
    assert [(score.missed, score.invented) for score in scores] == [(0, 0), (1, 0), (0, 1), (0, 0)]
    assert [math.isnan(score.hd95) for score in scores] == [True, True, True, False]
    estimates = summarise(scores)
    assert estimates['HD95'].num == 1
    assert not any(math.isnan(value) for e in estimates.values() for value in (e.value, e.low))
    (line, few) = remarks(scores)
    assert 'HD95 is over 1 of 4 images' in line
    assert '1 images with an object that was missed, 1 with an invented one, 1 empty' in line
    assert few.startswith('4 images are few')
    lines = csv_of(scores).splitlines()
    assert lines[1].split(',')[4] == ''
    assert len(lines) == 5


def test_no_distance_at_all_is_said_and_not_a_number() -> None:
    empty = np.zeros((8, 8), np.uint8)
    estimates = summarise([score_image('x', empty, empty, 2)])
    assert estimates['HD95'].num == 0
    assert math.isnan(estimates['HD95'].value)


def test_several_classes_are_averaged_over_the_foreground() -> None:
    truth = disc((20, 20), 10) + 2 * disc((50, 40), 8)
    predicted = disc((22, 20), 10) + 2 * disc((50, 42), 8)
    score = score_image('x', predicted, truth, 4)  # class 3 is in neither: agreement
    single = [
        score_image('x', (predicted == c).astype(np.uint8), (truth == c).astype(np.uint8), 2)
        for c in (1, 2)
    ]
    assert score.dice == pytest.approx((single[0].dice + single[1].dice + 100) / 3)
    surface = (single[0].surface_dice + single[1].surface_dice + 100) / 3
    assert score.surface_dice == pytest.approx(surface)
    assert score.hd95 == pytest.approx((single[0].hd95 + single[1].hd95) / 2)


def test_ignored_pixels_do_not_count() -> None:
    truth, predicted = disc((30, 30), 9), disc((30, 30), 9)
    truth[:, 50:] = 255
    predicted[:, 55:] = 1
    score = score_image('x', predicted, truth, 2)
    assert (score.dice, score.surface_dice, score.hd95) == (100, 100, 0)


@pytest.mark.parametrize('truth, words', [(3, 'x: .*0 to 1'), (None, 'x: .*60 x 70')])
def test_masks_that_do_not_fit_are_named(truth: int | None, words: str) -> None:
    mask = np.zeros((5, 5) if truth is None else (60, 70), np.uint8)
    mask[0, 0] = truth or 0
    with pytest.raises(ValueError, match=words):
        score_image('x', disc((30, 30), 9), mask, 2)


def some_scores(num: int) -> list[ImageScore]:
    rng = np.random.default_rng(3)
    return [
        score_image(str(i), disc((30, 30), int(r)), disc((32, 30), 12), 2)
        for i, r in enumerate(rng.integers(5, 20, num))
    ]


def test_intervals_are_those_of_drawing_images_again() -> None:
    scores = some_scores(12)
    estimates = summarise(scores, seed=4)
    weights = bootstrap_weights(12, seed=4).astype(int)
    assert (weights.sum(axis=1) == 12).all()
    dice = np.array([score.dice for score in scores])
    counts = np.stack([score.counts for score in scores])
    means, pooled = [], []
    for weight in weights:
        drawn = np.repeat(np.arange(12), weight)
        means.append(dice[drawn].mean())
        total = counts[drawn].sum(axis=0)
        pooled.append(200 * total[1, 1] / (total[1].sum() + total[:, 1].sum()))
    for name, values in (('mDice', means), ('pooled_Dice', pooled)):
        low, high = np.percentile(values, (2.5, 97.5))
        assert estimates[name].low == pytest.approx(low)
        assert estimates[name].high == pytest.approx(high)
        assert estimates[name].low < estimates[name].value < estimates[name].high
    assert summarise(scores, seed=4) == estimates


def test_the_interval_of_a_mean_is_near_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(50, 10, 400)
    estimate = mean_of(values, bootstrap_weights(400))
    half = 1.96 * values.std(ddof=1) / 20
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.15)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.15)


def test_pairs_are_scored_with_the_masks_that_predict_gives(runs: Runs) -> None:
    predictor = gps_seg.load(runs.sam, device='cpu', batch_size=5)
    pairs = pairs_of(runs.folder / 'discs')
    scores = score_pairs(predictor, pairs)
    assert [Path(score.name) for score in scores] == runs.images
    for score, made, file in zip(scores, predictor(runs.images), runs.masks, strict=True):
        truth = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) > 127
        predicted = made.mask == 1
        expected = 200 * (truth & predicted).sum() / (truth.sum() + predicted.sum())
        assert score.dice == pytest.approx(expected)


def test_folders_that_do_not_fit_together_are_refused(runs: Runs, tmp_path: Path) -> None:
    images, masks = tmp_path / 'images', tmp_path / 'masks'
    with pytest.raises(FileNotFoundError, match='no folder'):
        pairs_of(tmp_path)
    images.mkdir()
    masks.mkdir()
    with pytest.raises(FileNotFoundError, match='images: 0 images'):
        pairs_of(tmp_path)
    for name in ('a', 'b'):
        (images / f'{name}.png').write_bytes(runs.images[0].read_bytes())
    (masks / 'a.png').write_bytes(runs.masks[0].read_bytes())
    with pytest.raises(FileNotFoundError, match=r'image without mask: .*b\.png'):
        pairs_of(tmp_path)
    (images / 'b.png').unlink()
    (masks / 'c.png').write_bytes(runs.masks[0].read_bytes())
    with pytest.raises(FileNotFoundError, match=r'mask without image: .*c\.png'):
        pairs_of(tmp_path)


def test_a_mask_that_does_not_fit_stops_the_scoring(runs: Runs, tmp_path: Path) -> None:
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'images/a.png').write_bytes(runs.images[0].read_bytes())
    predictor = gps_seg.load(runs.sam, device='cpu')
    pairs = [*pairs_of_one(tmp_path, np.zeros((9, 9), np.uint8))]
    with pytest.raises(ValueError, match=r'a\.png.* has 9 x 9'):
        score_pairs(predictor, pairs)
    shape = cv2.imread(str(runs.images[0])).shape[:2]
    labels = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape) % 11
    with pytest.raises(ValueError, match=r'a\.png'):
        score_pairs(predictor, pairs_of_one(tmp_path, labels))


def pairs_of_one(folder: Path, mask: Mask) -> list[Pair]:
    cv2.imwrite(str(folder / 'masks/a.png'), mask)
    return pairs_of(folder)


def pairs_of(folder: Path) -> list[Pair]:
    return pairs_of_folder(MaskFolder(root=str(folder), images='images', masks='masks'))
