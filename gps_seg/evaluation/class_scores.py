"""Dice and IoU of each class, and their means, from confusion counts.

With several classes most of them are in few images, so that agreement on absence must not count: a
class that neither the ground truth nor the prediction of an image has is left out of that image.
"""

from collections.abc import Sequence

import numpy as np

from gps_seg.evaluation.dice import Counts, Scores, classwise_dice, classwise_iou


def mean_over_images(scores: Scores) -> Scores:
    """The mean of each class over the images that have it, truly or by prediction.

    scores: (images, classes), nan where an image has not. Returns (classes,), nan where none has.
    """
    present = ~np.isnan(scores)
    sums, numbers = np.where(present, scores, 0.0).sum(0), present.sum(0)
    return np.divide(sums, numbers, out=np.full(scores.shape[1], np.nan), where=numbers > 0)


def segmentation_scores(
    counts: Counts, classes: Sequence[str], *, background: int | None = 0
) -> dict[str, float]:
    """Dice and IoU of a data set, averaged in three ways and by class, in percent.

    counts: (images, classes, classes), one matrix an image. classes: their names. background: the
    class that means over the foreground leave out; None where every class counts.

    - `mDice`, `mIoU`: of each foreground class the mean over images that have it, truly or by
      prediction; then the mean over these classes (as nnU-Net and challenges of several organs do).
    - `pooled_Dice`, `pooled_IoU`: of each foreground class over all pixels of the data set
      together; then the mean over them.
    - `classes_mDice`, `classes_mIoU`: pooled too, background included, as MMSegmentation prints.
    - `Dice_NAME`, `IoU_NAME`: of each class, background included, the mean over images that have
      it.

    A class that no image has is left out of every mean, and has no `Dice_NAME`.

    Raises ValueError where there is no image, and where no image has a foreground class.
    """
    if len(counts) == 0:
        raise ValueError('no image to score; is the split empty?')
    foreground = [label for label in range(len(classes)) if label != background]
    result: dict[str, float] = {}
    per_class: dict[str, float] = {}
    for name, score in (('Dice', classwise_dice), ('IoU', classwise_iou)):
        over_images = 100 * mean_over_images(score(counts))
        pooled = 100 * score(counts.sum(axis=0))
        if np.isnan(pooled[foreground]).all():
            raise ValueError(
                'no image has a foreground class, truly or by prediction, so that there is nothing '
                'to score; are the masks those of the images, and the labels those of the classes?'
            )
        result[f'm{name}'] = float(np.nanmean(over_images[foreground]))
        result[f'pooled_{name}'] = float(np.nanmean(pooled[foreground]))
        result[f'classes_m{name}'] = float(np.nanmean(pooled))
        per_class |= {
            f'{name}_{title}': float(value)
            for title, value in zip(classes, over_images, strict=True)
            if not np.isnan(value)
        }
    order = ('mDice', 'mIoU', 'pooled_Dice', 'pooled_IoU', 'classes_mDice', 'classes_mIoU')
    return {name: result[name] for name in order} | per_class


def image_means(scores: Scores, *, background: int | None = 0) -> Scores:
    """The mean of each image over the foreground classes that it has, truly or by prediction.

    scores: (images, classes), nan where an image has not. Returns (images,), nan where none.
    """
    foreground = np.delete(scores, background, axis=1) if background is not None else scores
    return mean_over_images(foreground.T)
