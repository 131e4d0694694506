"""The scores of `dice.py` as a metric of MMEngine."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from gps_seg.evaluation.dice import (
    IGNORE_INDEX,
    Counts,
    confusion,
    foreground_scores,
    image_scores,
)
from gps_seg.files import write_atomically


@dataclass(frozen=True)
class _Image:
    """All that is kept of an image: a few integers, whatever its size."""

    # Not a NamedTuple: MMEngine rebuilds those as plain tuples before `compute_metrics`.

    path: str
    counts: Counts
    ignored: int


class ConfusionMetric(BaseMetric):
    """What the metrics share: one confusion matrix an image, each image counted once on all ranks.

    out: a CSV file to which the scores of each image go, the worst first. ignore_index: pixels of
    this value in the ground truth are not counted. collect_device, collect_dir, prefix: as in every
    metric of MMEngine. `scores` says what is made of the counts.

    Raises ValueError where a prediction is not of the ground truth's size, where a value is no
    class, and where the whole foreground is hidden behind `ignore_index`.
    """

    default_prefix = ''  # plain names; None would make MMEngine warn

    def __init__(
        self,
        *,
        out: str | Path | None = None,
        ignore_index: int = IGNORE_INDEX,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.out = out
        self.ignore_index = ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Count a batch. data_samples: dicts with `pred_sem_seg`, `gt_sem_seg`, `img_path`."""
        num_classes = len(self._classes())
        for sample in data_samples:
            path = str(sample.get('img_path', f'image {len(self.results)}'))
            if sample.get('page') is not None:
                path += f'#{sample["page"]}'
            if 'gt_sem_seg' not in sample:
                raise ValueError(f'{path} has no ground truth to score against; add its mask')
            truth = sample['gt_sem_seg']['data']
            try:
                counts = confusion(
                    sample['pred_sem_seg']['data'], truth, num_classes, self.ignore_index
                )
            except ValueError as error:
                raise ValueError(f'{path}: {error}') from error
            self.results.append(_Image(path, counts, truth.numel() - int(counts.sum())))

    def compute_metrics(self, results: list[_Image]) -> dict[str, float]:
        """The scores of all images; called on the main process alone."""
        if not results:
            raise ValueError('no image to score; is the split empty?')
        counts = np.stack([image.counts for image in results])
        self._check_foreground(counts, sum(image.ignored for image in results))
        return self.scores([image.path for image in results], counts)

    def scores(self, images: Sequence[str], counts: Counts) -> dict[str, float]:
        """The named scores. images: a path each. counts: (images, classes, classes)."""
        raise NotImplementedError

    def _classes(self) -> tuple[str, ...]:
        classes = tuple((self.dataset_meta or {}).get('classes') or ())
        if len(classes) < 2:
            raise ValueError(
                f'the data set names {len(classes)} classes; {type(self).__name__} needs the '
                "background and at least one more: set classes=('background', 'polyp') on the data "
                'set'
            )
        return classes

    def _check_foreground(self, counts: Counts, ignored: int) -> None:
        # Masks of 0 and 255 would hide every object and score 100: empty truth, nothing counted.
        if ignored and counts[:, 1:].sum() == 0:
            raise ValueError(
                f'no ground truth has a foreground pixel, but {ignored} pixels have the ignored '
                f'value {self.ignore_index}; masks of 0 and 255 have to be thresholded to 0 and 1 '
                'when they are loaded, and data.ignore must not name the foreground'
            )


@METRICS.register_module()
class ForegroundMetric(ConfusionMetric):
    """Dice and IoU of the foreground, in percent, at the size of the ground truth.

    Gives exactly `mDice`, `mIoU`, `pooled_Dice`, `pooled_IoU`, `classes_mDice` and `classes_mIoU`,
    unrounded, as `foreground_scores` defines them. Its options and errors are those of
    `ConfusionMetric`. For more than two classes, SegmentationMetric names them.
    """

    gives = ('mDice', 'mIoU', 'pooled_Dice', 'pooled_IoU', 'classes_mDice', 'classes_mIoU')

    def scores(self, images: Sequence[str], counts: Counts) -> dict[str, float]:
        if self.out is not None:
            write_image_scores(self.out, images, counts)
        return foreground_scores(counts)


def write_image_scores(path: str | Path, images: Sequence[str], counts: Counts) -> None:
    """Write foreground Dice and IoU of each image, in percent, as a CSV file, worst Dice first.

    images: a name each. counts: (images, classes, classes) as from `confusion`.
    """
    dice, iou = image_scores(counts)

    def write(temporary: Path) -> None:
        with temporary.open('w', newline='', encoding='utf-8') as file:
            table = csv.writer(file)
            table.writerow(['image', 'Dice', 'IoU'])
            for index in np.argsort(dice, kind='stable'):
                table.writerow([images[index], f'{dice[index]:.4f}', f'{iou[index]:.4f}'])

    write_atomically(path, write)
