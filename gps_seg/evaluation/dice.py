"""Dice and IoU from confusion counts, by every aggregation that the field prints.

Everything starts from one confusion matrix per image, a few integers, so that a whole data set can
be kept and aggregated in any order, in float64. Class 0 is the background.
"""

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Counts: TypeAlias = NDArray[np.int64]
Scores: TypeAlias = NDArray[np.float64]

IGNORE_INDEX = 255


def confusion(
    predicted: Tensor | NDArray[np.generic],
    truth: Tensor | NDArray[np.generic],
    num_classes: int,
    ignore_index: int = IGNORE_INDEX,
) -> Counts:
    """Count the pixels of one image by true and predicted class.

    predicted, truth: bool or integer class indices of equal shape; torch tensors may lie on any
    device. Pixels whose truth is `ignore_index` are left out.
    Returns (num_classes, num_classes) int64, rows by true class, columns by predicted class.

    Raises ValueError where the shapes differ or a value is no class.
    """
    predicted, truth = torch.as_tensor(predicted), torch.as_tensor(truth)
    if predicted.shape != truth.shape:
        raise ValueError(
            f'the prediction is {_size(predicted)}, the ground truth {_size(truth)}; scores are '
            'taken at the size of the ground truth: resize the logits to it before thresholding'
        )
    if predicted.is_floating_point() or truth.is_floating_point():
        raise ValueError(
            f'the prediction is {predicted.dtype}, the ground truth {truth.dtype}; both have to '
            'be class indices: threshold probabilities first'
        )
    truth = truth.reshape(-1).to(predicted.device, torch.int64)
    predicted = predicted.reshape(-1).to(torch.int64)
    counted = truth != ignore_index
    truth, predicted = truth[counted], predicted[counted]
    _check_classes('ground truth', truth, num_classes)
    _check_classes('prediction', predicted, num_classes)
    pairs = torch.bincount(truth * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes).cpu().numpy()


def classwise_dice(counts: Counts) -> Scores:
    """Dice of each class, in [0, 1]: twice the intersection over the sum of both areas.

    counts: (..., classes, classes) as from `confusion`. Returns (..., classes) float64, nan for a
    class that neither the ground truth nor the prediction has.
    """
    intersection, predicted, labelled = _areas(counts)
    return _ratio(2 * intersection, predicted + labelled)


def classwise_iou(counts: Counts) -> Scores:
    """IoU of each class, in [0, 1]: the intersection over the union.

    counts: (..., classes, classes) as from `confusion`. Returns (..., classes) float64, nan for a
    class that neither the ground truth nor the prediction has.
    """
    intersection, predicted, labelled = _areas(counts)
    return _ratio(intersection, predicted + labelled - intersection)


def image_scores(counts: Counts) -> tuple[Scores, Scores]:
    """Foreground Dice and IoU of each image, in percent.

    counts: (..., classes, classes), one matrix an image. Returns two (...) float64 arrays. With
    several foreground classes, the mean over them. A class that neither has scores 100, one that
    only the prediction or only the ground truth has scores 0 (MONAI with `ignore_empty=False`).
    """
    return _foreground(classwise_dice(counts)), _foreground(classwise_iou(counts))


def foreground_scores(counts: Counts) -> dict[str, float]:
    """Dice and IoU of a data set by three aggregations, in percent.

    counts: (images, classes, classes), one matrix an image.

    - `mDice`, `mIoU`: means over images of the foreground scores, as polyp papers print them.
    - `pooled_Dice`, `pooled_IoU`: foreground scores of all pixels of the data set together; with
      one foreground class IoU = Dice / (2 - Dice) exactly (in [0, 1]).
    - `classes_mDice`, `classes_mIoU`: pooled too, then the mean over classes, background included,
      as MMSegmentation prints them. A class that occurs nowhere is left out of this mean.
    """
    if len(counts) == 0:
        raise ValueError('no image to score; is the split empty?')
    dice, iou = image_scores(counts)
    pooled = counts.sum(axis=0)
    pooled_dice, pooled_iou = image_scores(pooled)
    return {
        'mDice': float(dice.mean()),
        'mIoU': float(iou.mean()),
        'pooled_Dice': float(pooled_dice),
        'pooled_IoU': float(pooled_iou),
        'classes_mDice': 100 * float(np.nanmean(classwise_dice(pooled))),
        'classes_mIoU': 100 * float(np.nanmean(classwise_iou(pooled))),
    }


def _foreground(scores: Scores) -> Scores:
    """Mean over classes 1.. in percent; absent from both counts as agreement."""
    foreground = scores[..., 1:]
    return 100 * np.where(np.isnan(foreground), 1.0, foreground).mean(axis=-1)


def _areas(counts: Counts) -> tuple[Counts, Counts, Counts]:
    """Intersection, predicted and labelled pixels of each class, each (..., classes)."""
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-2), counts.sum(axis=-1)


def _ratio(numerator: Counts, denominator: Counts) -> Scores:
    undefined = np.full(denominator.shape, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)


def _check_classes(name: str, labels: Tensor, num_classes: int) -> None:
    if len(labels) == 0:
        return
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= num_classes:
        raise ValueError(
            f'the {name} has values from {lowest} to {highest}; with {num_classes} classes they '
            f'have to be 0 to {num_classes - 1} (a mask of other values: threshold or map it)'
        )


def _size(mask: Tensor) -> str:
    return ' x '.join(str(side) for side in mask.shape) or 'a single value'
