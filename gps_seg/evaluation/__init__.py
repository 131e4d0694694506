"""Segmentation scores that say what they average: pure functions, and MMEngine's metric on top."""

from gps_seg.evaluation.dice import (
    classwise_dice,
    classwise_iou,
    confusion,
    foreground_scores,
    image_scores,
)
from gps_seg.evaluation.foreground_metric import ForegroundMetric

__all__ = [
    'ForegroundMetric',
    'classwise_dice',
    'classwise_iou',
    'confusion',
    'foreground_scores',
    'image_scores',
]
