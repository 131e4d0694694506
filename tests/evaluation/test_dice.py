from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import DiceMetric, MeanIoU
from numpy.typing import NDArray

from gps_seg.evaluation import (
    classwise_dice,
    classwise_iou,
    confusion,
    foreground_scores,
    image_scores,
)

Masks = NDArray[np.uint8]

# A few images of 5 x 4 pixels: predictions and truths, empty and full ones among them.
mask_pairs = st.integers(1, 5).flatmap(
    lambda images: arrays(np.uint8, (2, images, 5, 4), elements=st.integers(0, 1))
)


def count(predicted: Masks, truth: Masks, num_classes: int = 2) -> NDArray[np.int64]:
    return np.stack([confusion(p, t, num_classes) for p, t in zip(predicted, truth, strict=True)])


def random_masks(classes: int = 2, images: int = 7) -> tuple[Masks, Masks]:
    """Predictions that agree with the truth on about three pixels of four."""
    draw = np.random.default_rng(3)
    truth = draw.integers(0, classes, (images, 33, 21), dtype=np.uint8)
    noise = draw.integers(0, classes, truth.shape, dtype=np.uint8)
    return np.where(draw.random(truth.shape) < 0.5, truth, noise), truth


def sets(mask: Masks, label: int = 1) -> set[int]:
    return set(np.flatnonzero(mask == label).tolist())


def set_dice(predicted: Masks, truth: Masks, label: int = 1) -> float:
    p, t = sets(predicted, label), sets(truth, label)
    return 2 * len(p & t) / (len(p) + len(t))


def set_iou(predicted: Masks, truth: Masks, label: int = 1) -> float:
    p, t = sets(predicted, label), sets(truth, label)
    return len(p & t) / len(p | t)


def test_scores_equal_a_recomputation_from_sets_of_pixels() -> None:
    predicted, truth = random_masks()
    scores = foreground_scores(count(predicted, truth))
    pairs = list(zip(predicted, truth, strict=True))
    expected: dict[str, Any] = {
        'mDice': np.mean([set_dice(p, t) for p, t in pairs]),
        'mIoU': np.mean([set_iou(p, t) for p, t in pairs]),
        'pooled_Dice': set_dice(predicted, truth),
        'pooled_IoU': set_iou(predicted, truth),
        'classes_mDice': np.mean([set_dice(predicted, truth, label) for label in (0, 1)]),
        'classes_mIoU': np.mean([set_iou(predicted, truth, label) for label in (0, 1)]),
    }
    assert scores == pytest.approx(
        {name: 100 * float(value) for name, value in expected.items()}, rel=1e-13
    )
    assert list(scores) == list(expected)


def test_several_foreground_classes_are_averaged_within_each_image() -> None:
    predicted, truth = random_masks(classes=4)
    scores = foreground_scores(count(predicted, truth, num_classes=4))
    per_image = [
        np.mean([set_dice(p, t, label) for label in (1, 2, 3)])
        for p, t in zip(predicted, truth, strict=True)
    ]
    assert scores['mDice'] == pytest.approx(100 * np.mean(per_image), rel=1e-13)


@given(mask_pairs)
def test_pooled_iou_follows_from_pooled_dice(masks: Masks) -> None:
    scores = foreground_scores(count(*masks))
    dice = scores['pooled_Dice'] / 100
    assert scores['pooled_IoU'] / 100 == pytest.approx(dice / (2 - dice), abs=1e-14)


@given(mask_pairs)
def test_mean_iou_lies_between_what_mean_dice_allows(masks: Masks) -> None:
    scores = foreground_scores(count(*masks))
    dice, iou = scores['mDice'] / 100, scores['mIoU'] / 100
    assert dice / (2 - dice) - 1e-14 <= iou <= dice + 1e-14


@given(mask_pairs)
def test_scores_lie_within_zero_and_a_hundred_percent(masks: Masks) -> None:
    scores = foreground_scores(count(*masks))
    assert all(0 <= value <= 100 for value in scores.values())
    assert all(scores[f'{kind}IoU'] <= scores[f'{kind}Dice'] for kind in ('m', 'pooled_'))


@given(mask_pairs)
def test_swapping_prediction_and_truth_changes_no_score(masks: Masks) -> None:
    predicted, truth = masks
    assert foreground_scores(count(predicted, truth)) == foreground_scores(count(truth, predicted))


def one_hot(masks: Masks) -> torch.Tensor:
    labels = torch.from_numpy(masks.astype(np.int64))
    return torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).double()


def monai_score(metric: Any, predicted: Masks, truth: Masks) -> float:
    metric(one_hot(predicted), one_hot(truth))
    return float(metric.aggregate())


@given(mask_pairs)
def test_mean_scores_agree_with_monai_also_on_empty_masks(masks: Masks) -> None:
    # With ignore_empty=False MONAI scores 1 where truth and prediction are both empty, and 0 where
    # one of them is.
    scores = foreground_scores(count(*masks))
    options = {'include_background': False, 'ignore_empty': False}
    dice = monai_score(DiceMetric(**options), *masks)
    iou = monai_score(MeanIoU(**options), *masks)
    # MONAI's results are float32.
    assert (scores['mDice'], scores['mIoU']) == pytest.approx((100 * dice, 100 * iou), abs=1e-4)


def test_empty_truth_scores_a_hundred_where_nothing_is_predicted_and_zero_else() -> None:
    empty, one_pixel = np.zeros((4, 4), np.uint8), np.eye(4, dtype=np.uint8)
    assert np.array_equal(image_scores(confusion(empty, empty, 2)), [100, 100])
    assert np.array_equal(image_scores(confusion(one_pixel, empty, 2)), [0, 0])
    assert np.array_equal(image_scores(confusion(empty, one_pixel, 2)), [0, 0])


def test_predicting_foreground_everywhere_is_no_perfect_score() -> None:
    truth = np.zeros((2, 10, 10), np.uint8)
    truth[:, :5, :2] = 1
    scores = foreground_scores(count(np.ones_like(truth), truth))
    # 10 of 100 predicted pixels are right; the background class is never predicted.
    assert scores == pytest.approx(
        {
            'mDice': 100 * 20 / 110,
            'mIoU': 10,
            'pooled_Dice': 100 * 20 / 110,
            'pooled_IoU': 10,
            'classes_mDice': 50 * 20 / 110,
            'classes_mIoU': 5,
        }
    )


def test_ignored_pixels_change_nothing() -> None:
    predicted, truth = random_masks(images=1)
    truth[0, :10] = 255
    expected = confusion(predicted[0, 10:], truth[0, 10:], 2)
    np.testing.assert_array_equal(confusion(predicted[0], truth[0], 2), expected)
    assert confusion(predicted[0], truth[0], 2).sum() == truth[0, 10:].size


def test_rows_are_true_classes_and_columns_predicted_ones() -> None:
    truth, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 2, 2])
    expected = [[1, 2, 0], [0, 1, 1], [0, 0, 1]]
    np.testing.assert_array_equal(confusion(predicted, truth, 3), expected)


@pytest.mark.parametrize('dtype', [torch.bool, torch.uint8, torch.int32, torch.int64])
def test_every_integer_type_counts_alike(dtype: torch.dtype) -> None:
    predicted, truth = random_masks(images=1)
    counts = confusion(torch.from_numpy(predicted).to(dtype), torch.from_numpy(truth).to(dtype), 2)
    np.testing.assert_array_equal(counts, confusion(predicted, truth, 2))
    assert counts.dtype == np.int64


def test_a_class_that_occurs_nowhere_is_undefined_and_left_out_of_the_class_mean() -> None:
    counts = confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 3)
    assert np.isnan(classwise_dice(counts)).tolist() == [False, False, True]
    assert np.isnan(classwise_iou(counts)).tolist() == [False, False, True]
    assert foreground_scores(counts[None])['classes_mDice'] == pytest.approx(100 * 2 / 3)


def test_different_sizes_are_an_error_that_names_both() -> None:
    with pytest.raises(ValueError, match=r'prediction is 4 x 6, the ground truth 8 x 6'):
        confusion(np.zeros((4, 6), np.uint8), np.zeros((8, 6), np.uint8), 2)


def test_equal_numbers_of_pixels_in_another_shape_are_an_error() -> None:
    with pytest.raises(ValueError, match='prediction is 6 x 4'):
        confusion(np.zeros((6, 4), np.uint8), np.zeros((4, 6), np.uint8), 2)


def test_probabilities_are_an_error_that_names_the_threshold() -> None:
    with pytest.raises(ValueError, match='threshold probabilities first'):
        confusion(np.zeros((4, 4)), np.zeros((4, 4), np.uint8), 2)


@pytest.mark.parametrize('name', ['ground truth', 'prediction'])
@pytest.mark.parametrize('value', [2, -1])
def test_a_value_that_is_no_class_is_an_error(name: str, value: int) -> None:
    masks = {'ground truth': np.zeros(4, np.int64), 'prediction': np.zeros(4, np.int64)}
    masks[name][2] = value
    with pytest.raises(ValueError, match=f'the {name} has values from .*{value}'):
        confusion(masks['prediction'], masks['ground truth'], 2)


def test_no_image_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match='no image to score'):
        foreground_scores(np.zeros((0, 2, 2), np.int64))
