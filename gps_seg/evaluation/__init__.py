"""Segmentation scores that say what they average: pure functions, and MMEngine's metric on top."""

from gps_seg.evaluation.class_scores import image_means, mean_over_images, segmentation_scores
from gps_seg.evaluation.classification_metric import ClassificationMetric
from gps_seg.evaluation.corruption_metric import CorruptionErrorMetric
from gps_seg.evaluation.dice import (
    classwise_dice,
    classwise_iou,
    confusion,
    foreground_scores,
    image_scores,
)
from gps_seg.evaluation.foreground_metric import ConfusionMetric, ForegroundMetric
from gps_seg.evaluation.segmentation_metric import SegmentationMetric

__all__ = [
    'ClassificationMetric',
    'ConfusionMetric',
    'CorruptionErrorMetric',
    'ForegroundMetric',
    'SegmentationMetric',
    'classwise_dice',
    'classwise_iou',
    'confusion',
    'foreground_scores',
    'image_means',
    'image_scores',
    'mean_over_images',
    'segmentation_scores',
]
