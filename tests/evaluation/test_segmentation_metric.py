"""Scores of several classes against MONAI, MMSegmentation and NumPy on the same predictions."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from monai.metrics import DiceMetric, MeanIoU
from torch import Tensor

from gps_seg.evaluation import ForegroundMetric, SegmentationMetric

Sample = dict[str, Any]
CLASSES = ('background', 'disc', 'box', 'cross')
MEANS = ['mDice', 'mIoU', 'pooled_Dice', 'pooled_IoU', 'classes_mDice', 'classes_mIoU']


def sample(predicted: Tensor, truth: Tensor, name: str = 'a.jpg') -> Sample:
    return {
        'pred_sem_seg': {'data': predicted[None]},
        'gt_sem_seg': {'data': truth[None]},
        'img_path': name,
    }


def samples(num: int = 6, classes: int = 4, *, ignored: bool = False) -> list[Sample]:
    """Images of different sizes and different classes, half of their pixels predicted right."""
    draw = torch.Generator().manual_seed(5)
    batch = []
    for index in range(num):
        size = (20 + 3 * index, 31)
        # Not every image has every class.
        truth, guess = (
            torch.randint(classes, size, generator=draw).clamp(
                max=max(1, classes - 1 - (index + k) % 3)
            )
            for k in (0, 1)
        )
        predicted = torch.where(torch.rand(size, generator=draw) < 0.5, truth, guess)
        if ignored:
            truth[:4] = 255
        batch.append(sample(predicted, truth, f'image{index}.jpg'))
    return batch


def scores(batch: list[Sample], names: Sequence[str] = CLASSES, **options: Any) -> dict[str, float]:
    metric = SegmentationMetric(**options)
    metric.dataset_meta = {'classes': tuple(names)}
    metric.process({}, batch)
    return metric.evaluate(len(batch))


def one_hot(labels: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(labels, len(CLASSES)).movedim(-1, 1)


def test_the_registered_metric_names_means_and_classes_through_an_evaluator() -> None:
    evaluator = Evaluator(METRICS.build({'type': 'SegmentationMetric'}))
    evaluator.dataset_meta = {'classes': CLASSES}
    evaluator.process(samples(), {})
    result = evaluator.evaluate(6)
    each = [f'{score}_{name}' for score in ('Dice', 'IoU') for name in CLASSES]
    assert list(result) == MEANS + each
    assert all(type(value) is float for value in result.values())


@pytest.mark.parametrize('score, metric', [('Dice', DiceMetric), ('IoU', MeanIoU)])
def test_scores_of_classes_are_monais_means_over_the_images_that_have_them(
    score: str, metric: Any
) -> None:
    reference = metric(include_background=True, reduction='none', ignore_empty=False)
    has = []
    for item in samples():
        predicted, truth = (item[key]['data'] for key in ('pred_sem_seg', 'gt_sem_seg'))
        reference(one_hot(predicted), one_hot(truth))
        both = torch.cat([predicted.flatten(), truth.flatten()])
        has.append([bool((both == label).any()) for label in range(4)])
    values = np.where(has, reference.aggregate().numpy(), np.nan)
    expected = 100 * np.nanmean(values, axis=0)
    assert np.isnan(values).any()
    result = scores(samples())
    found = [result[f'{score}_{name}'] for name in CLASSES]
    assert found == pytest.approx(expected, rel=1e-5)
    assert result[f'm{score}'] == pytest.approx(expected[1:].mean(), rel=1e-5)


def test_without_absent_classes_the_means_are_what_monai_prints_for_a_batch() -> None:
    draw = torch.Generator().manual_seed(1)
    predicted, truth = (torch.randint(4, (5, 20, 30), generator=draw) for _ in range(2))
    reference = DiceMetric(include_background=False, reduction='mean_batch')
    reference(one_hot(predicted), one_hot(truth))
    batch = [sample(p, t, str(i)) for i, (p, t) in enumerate(zip(predicted, truth, strict=True))]
    result = scores(batch)
    assert result['mDice'] == pytest.approx(100 * reference.aggregate().mean().item(), rel=1e-5)


@pytest.mark.parametrize('ignored', [False, True])
def test_pooled_means_over_all_classes_are_those_of_mmsegmentation(ignored: bool) -> None:
    reference = IoUMetric(iou_metrics=['mDice', 'mIoU'])
    reference.dataset_meta = {'classes': CLASSES}
    reference.process({}, samples(ignored=ignored))
    expected = reference.evaluate(6)
    result = scores(samples(ignored=ignored))
    # MMSegmentation rounds its percents to two decimals.
    assert round(result['classes_mDice'], 2) == expected['mDice']
    assert round(result['classes_mIoU'], 2) == expected['mIoU']


def test_pooled_foreground_is_counted_over_all_pixels_together() -> None:
    predicted, truth = (
        np.concatenate([item[key]['data'].numpy().ravel() for item in samples()])
        for key in ('pred_sem_seg', 'gt_sem_seg')
    )
    dice = [
        2 * ((predicted == c) & (truth == c)).sum() / ((predicted == c).sum() + (truth == c).sum())
        for c in (1, 2, 3)
    ]
    iou = [d / (2 - d) for d in dice]
    result = scores(samples())
    assert result['pooled_Dice'] == pytest.approx(100 * np.mean(dice))
    assert result['pooled_IoU'] == pytest.approx(100 * np.mean(iou))


def test_two_classes_are_scored_as_the_foreground_metric_does() -> None:
    reference = ForegroundMetric()
    reference.dataset_meta = {'classes': CLASSES[:2]}
    batch = samples(classes=2)
    for item in batch:
        item['gt_sem_seg']['data'][0, 0, 0] = 1  # no image without foreground
    reference.process({}, batch)
    expected = reference.evaluate(6)
    result = scores(batch, CLASSES[:2])
    assert {name: result[name] for name in MEANS} == pytest.approx(expected, rel=1e-12)
    assert result['Dice_disc'] == pytest.approx(expected['mDice'])


def test_agreement_that_a_class_is_absent_counts_nowhere_but_in_the_binary_metric() -> None:
    truth = torch.zeros(8, 8, dtype=torch.int64)
    half = truth.clone()
    half[:4] = 1
    batch = [sample(truth, truth, 'empty'), sample(half // 2, half, 'missed')]
    assert scores(batch, CLASSES[:2])['mDice'] == 0
    binary = ForegroundMetric()
    binary.dataset_meta = {'classes': CLASSES[:2]}
    binary.process({}, batch)
    assert binary.evaluate(2)['mDice'] == 50


def test_a_class_that_is_predicted_in_vain_scores_0_and_one_that_is_nowhere_has_no_score() -> None:
    truth = torch.zeros(8, 8, dtype=torch.int64)
    truth[:4] = 1
    predicted = truth.clone()
    predicted[6, 6] = 2
    result = scores([sample(predicted, truth)])
    assert result['Dice_disc'] == 100
    assert result['Dice_box'] == 0
    assert result['mDice'] == 50
    assert 'Dice_cross' not in result
    assert 'IoU_cross' not in result


def test_without_a_background_every_class_is_in_the_means() -> None:
    result = scores(samples(), background=None)
    each = [result[f'Dice_{name}'] for name in CLASSES]
    assert result['mDice'] == pytest.approx(np.mean(each))
    assert result['pooled_Dice'] == pytest.approx(result['classes_mDice'])


def test_the_table_of_images_has_the_classes_and_starts_with_the_worst(tmp_path: Path) -> None:
    result = scores(samples(), out=tmp_path / 'images.csv')
    with (tmp_path / 'images.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ['image', 'Dice', 'IoU', *(f'Dice_{name}' for name in CLASSES)]
    dice = [float(row['Dice']) for row in rows]
    assert dice == sorted(dice)
    for row in rows:
        classes = [float(row[f'Dice_{name}']) for name in CLASSES[1:] if row[f'Dice_{name}']]
        assert float(row['Dice']) == pytest.approx(np.mean(classes), abs=1e-4)
    crosses = [float(row['Dice_cross']) for row in rows if row['Dice_cross']]
    assert len(crosses) < len(rows)
    assert np.mean(crosses) == pytest.approx(result['Dice_cross'], abs=1e-4)


def test_wrong_input_is_an_error_that_says_what_to_do() -> None:
    empty = torch.zeros(8, 8, dtype=torch.int64)
    with pytest.raises(ValueError, match='no image has a foreground class'):
        scores([sample(empty, empty)])
    with pytest.raises(ValueError, match=r'ground truth has values from 0 to 3; with 3 classes'):
        scores(samples(), CLASSES[:3])
    with pytest.raises(ValueError, match='two classes have one name'):
        scores(samples(), ('background', 'disc', 'disc', 'cross'))
    with pytest.raises(ValueError, match='background=4 is no class; there are 0 to 3'):
        scores(samples(), background=4)
    with pytest.raises(ValueError, match='no image to score'):
        SegmentationMetric().compute_metrics([])
    hidden = torch.where(torch.arange(64).reshape(8, 8) > 30, 255, 0)
    with pytest.raises(ValueError, match=r'33 pixels have the ignored value 255'):
        scores([sample(empty, hidden)])
    metric = SegmentationMetric()
    metric.dataset_meta = {'classes': CLASSES, 'reduce_zero_label': True}
    with pytest.raises(ValueError, match='background=None'):
        metric.process({}, samples())
