"""Accuracies against timm and NumPy."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement
from timm.utils import accuracy

from gps_seg.evaluation import ClassificationMetric, CorruptionErrorMetric
from gps_seg.evaluation.corruption_metric import ALEXNET_ERRORS


def samples(scores: np.ndarray, labels: np.ndarray, **meta: Any) -> list[dict[str, Any]]:
    made = []
    for place, (values, label) in enumerate(zip(scores, labels, strict=True)):
        each = {key: value[place] for key, value in meta.items()}
        sample = BaseDataElement(metainfo=dict(img_path=f'{place}.png', **each))
        sample.pred_scores = torch.from_numpy(values)
        sample.gt_label = torch.tensor(int(label))
        made.append(sample.to_dict())
    return made


def scored(metric: Any, made: list[dict[str, Any]]) -> dict[str, float]:
    for start in range(0, len(made), 7):
        metric.process({}, made[start : start + 7])
    return metric.evaluate(len(made))


def drawn(num: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((num, classes), dtype=np.float32), rng.integers(
        0, classes, num
    ) ** 2 % classes


def test_the_scores_are_those_of_timm_and_of_numpy() -> None:
    scores, labels = drawn(200, 10)
    found = scored(ClassificationMetric(), samples(scores, labels))
    top1, top5 = accuracy(torch.from_numpy(scores), torch.from_numpy(labels), topk=(1, 5))
    assert found['top1'] == pytest.approx(float(top1), abs=1e-4)
    assert found['top5'] == pytest.approx(float(top5), abs=1e-4)
    # Squares modulo 10 leave four classes without an image, which no mean can count.
    assert len(set(labels)) < 10
    recalls = [(scores.argmax(1)[labels == c] == c).mean() for c in sorted(set(labels))]
    assert found['mean_class_accuracy'] == pytest.approx(100 * np.mean(recalls))


def test_of_few_classes_there_is_no_top5_and_ties_go_to_the_lower_class() -> None:
    scores = np.array([[0.5, 0.5, 0.0], [0.2, 0.4, 0.4]], np.float32)
    found = scored(ClassificationMetric(), samples(scores, np.array([1, 1])))
    assert found == {'top1': 50.0, 'mean_class_accuracy': 50.0}


def test_classes_that_are_not_evaluated_cannot_win() -> None:
    scores = np.array([[0.6, 0.3, 0.1], [0.6, 0.1, 0.3]], np.float32)
    metric = ClassificationMetric()
    metric.dataset_meta = {'classes': ('a', 'b', 'c'), 'evaluated_classes': (1, 2)}
    assert scored(metric, samples(scores, np.array([1, 2])))['top1'] == 100.0


def test_the_table_lists_confident_mistakes_first(tmp_path: Path) -> None:
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], np.float32)
    metric = ClassificationMetric(out=tmp_path / 'images.csv')
    metric.dataset_meta = {'classes': ('cat', 'dog')}
    found = scored(metric, samples(scores, np.array([0, 0, 0])))
    rows = list(csv.DictReader((tmp_path / 'images.csv').read_text().splitlines()))
    assert [row['image'] for row in rows] == ['2.png', '1.png', '0.png']
    assert [row['predicted'] for row in rows] == ['dog', 'dog', 'cat']
    assert np.mean([float(row['top1']) for row in rows]) == pytest.approx(found['top1'])


def test_what_cannot_be_scored_is_refused() -> None:
    scores, labels = drawn(3, 4)
    with pytest.raises(ValueError, match=r'model\.num_classes'):
        scored(ClassificationMetric(), samples(scores, labels + 4))
    metric = ClassificationMetric()
    metric.dataset_meta = {'classes': ('a', 'b')}
    with pytest.raises(ValueError, match=r'set model\.num_classes=2'):
        scored(metric, samples(scores, labels))
    made = samples(scores, labels)
    del made[0]['gt_label']
    with pytest.raises(ValueError, match=r'0\.png has no gt_label'):
        scored(ClassificationMetric(), made)


def corrupted(corruptions: list[str]) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Images whose errors grow with severity, and the error of each corruption by hand."""
    rng = np.random.default_rng(1)
    names, severities, wrong = [], [], []
    for name in corruptions:
        for severity in range(1, 6):
            for _ in range(8):
                names.append(name)
                severities.append(severity)
                wrong.append(rng.random() < severity / 7)
    scores = np.array([[0.1, 0.9] if w else [0.9, 0.1] for w in wrong], np.float32)
    made = samples(scores, np.zeros(len(wrong), int), corruption=names, severity=severities)
    of = {
        n: 100 * float(np.mean([w for w, m in zip(wrong, names, strict=True) if m == n]))
        for n in names
    }
    return made, of


def test_the_corruption_error_is_divided_by_that_of_alexnet() -> None:
    made, errors = corrupted(list(ALEXNET_ERRORS))
    found = scored(CorruptionErrorMetric(), made)
    assert found['mean_corruption_error'] == pytest.approx(np.mean(list(errors.values())))
    relative = [errors[name] / alexnet for name, alexnet in ALEXNET_ERRORS.items()]
    assert found['mCE'] == pytest.approx(np.mean(relative))


def test_alexnet_itself_has_the_published_mean_error() -> None:
    # Table 1 of arXiv:1903.12261: AlexNet's own mCE is 100, from these errors, whose mean is 79.
    assert np.mean(list(ALEXNET_ERRORS.values())) == pytest.approx(0.7875, abs=5e-3)
    assert len(ALEXNET_ERRORS) == 15


def test_some_corruptions_alone_have_no_mce() -> None:
    made, errors = corrupted(['fog', 'snow'])
    found = scored(CorruptionErrorMetric(), made)
    assert 'mCE' not in found
    assert found['mean_corruption_error'] == pytest.approx(np.mean(list(errors.values())))
    with pytest.raises(ValueError, match='15 corruptions'):
        scored(CorruptionErrorMetric(), samples(*drawn(2, 4)))


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_prediction_that_is_not_finite_is_no_score(value: float) -> None:
    values, labels = drawn(4, 7)
    values[2, labels[2]] = value
    metric = ClassificationMetric()
    with pytest.raises(ValueError, match=r'prediction of 2\.png is not finite; lower'):
        metric.process({}, samples(values, labels))
