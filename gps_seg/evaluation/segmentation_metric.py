"""The scores of `class_scores.py` as a metric of MMEngine."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from mmseg.registry import METRICS

from gps_seg.evaluation.class_scores import image_means, segmentation_scores
from gps_seg.evaluation.dice import IGNORE_INDEX, Counts, classwise_dice, classwise_iou
from gps_seg.evaluation.foreground_metric import ConfusionMetric
from gps_seg.files import write_atomically


@METRICS.register_module()
class SegmentationMetric(ConfusionMetric):
    """Dice and IoU of any number of classes, in percent, at the size of the ground truth.

    Gives what `segmentation_scores` defines, unrounded: `mDice`, `mIoU`, `pooled_Dice`,
    `pooled_IoU`, `classes_mDice`, `classes_mIoU`, and `Dice_NAME` and `IoU_NAME` of each class.
    With two classes `mDice` and `mIoU` are those of ForegroundMetric, but for images without
    foreground in truth and prediction: those count 100 there and are left out here.

    background: the class that the means over the foreground leave out; None for data without one.
    out, ignore_index, collect_device, prefix, collect_dir: as in ForegroundMetric; the table has
    the Dice of each class too.

    Raises ValueError as ForegroundMetric does, and where no image has a foreground class.
    """

    def __init__(
        self,
        *,
        background: int | None = 0,
        out: str | Path | None = None,
        ignore_index: int = IGNORE_INDEX,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(
            out=out,
            ignore_index=ignore_index,
            collect_device=collect_device,
            prefix=prefix,
            collect_dir=collect_dir,
        )
        self.background = background

    def scores(self, images: Sequence[str], counts: Counts) -> dict[str, float]:
        classes = self._classes()
        if self.out is not None:
            write_class_scores(self.out, images, counts, classes, background=self.background)
        scores = segmentation_scores(counts, classes, background=self.background)
        absent = [name for name in classes if f'Dice_{name}' not in scores]
        if absent:
            print_log(
                f'No image has {", ".join(absent)}, truly or by prediction: left out of the scores',
                logger='current',
            )
        return scores

    def _classes(self) -> tuple[str, ...]:
        classes = super()._classes()
        if len(set(classes)) < len(classes):
            raise ValueError(f'two classes have one name: {", ".join(classes)}; rename one of them')
        if self.background is None:
            return classes
        if (self.dataset_meta or {}).get('reduce_zero_label'):
            raise ValueError(
                'the data set has reduce_zero_label, so that its class 0 is no background; set '
                'background=None in the evaluator'
            )
        if not 0 <= self.background < len(classes):
            raise ValueError(
                f'background={self.background} is no class; there are 0 to {len(classes) - 1}, or '
                'None for data without one'
            )
        return classes


def write_class_scores(
    path: str | Path,
    images: Sequence[str],
    counts: Counts,
    classes: Sequence[str],
    *,
    background: int | None = 0,
) -> None:
    """Write the scores of each image, in percent, as a CSV file, worst Dice first.

    images: a name each. counts: (images, classes, classes) as from `confusion`. `Dice` and `IoU`
    are means over the foreground classes that the image has, truly or by prediction; fields of
    classes that it has not are empty.
    """
    dice, iou = 100 * classwise_dice(counts), 100 * classwise_iou(counts)
    mean_dice, mean_iou = (image_means(scores, background=background) for scores in (dice, iou))
    rows = np.column_stack([mean_dice, mean_iou, dice])

    def write(temporary: Path) -> None:
        with temporary.open('w', newline='', encoding='utf-8') as file:
            table = csv.writer(file)
            table.writerow(['image', 'Dice', 'IoU', *(f'Dice_{name}' for name in classes)])
            for index in np.argsort(mean_dice, kind='stable'):  # nan comes last
                fields = ('' if np.isnan(value) else f'{value:.4f}' for value in rows[index])
                table.writerow([images[index], *fields])

    write_atomically(path, write)
