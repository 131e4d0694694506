"""The scores of `classification.py` as a metric of MMEngine."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS
from numpy.typing import NDArray

from gps_seg.evaluation.classification import class_accuracies, ranks_of_truth, top_k
from gps_seg.files import write_atomically


@dataclass(frozen=True)
class ClassifiedImage:
    """What is kept of an image.

    label, predicted: class ids. rank: classes before the true one. score: of `predicted`, and
    score_of_truth: of the true class, in [0, 1]. corruption, severity: of ImageNet-C.
    """

    # Not a NamedTuple: MMEngine rebuilds those as plain tuples before `compute_metrics`.

    path: str
    label: int
    predicted: int
    rank: int
    score: float
    score_of_truth: float
    corruption: str = ''
    severity: int = 0


@METRICS.register_module()
class ClassificationMetric(BaseMetric):
    """Accuracies of a classifier, in percent, each image counted once on all ranks.

    Gives `top1`; `top5` with more than five classes; and `mean_class_accuracy`, the mean over the
    classes that have images of the share of theirs that is right (VTAB's and FGVC's papers print
    `top1`; with classes of unequal size the two differ). Unrounded. A data set that has
    `evaluated_classes` (ImageNet-A and -R) is scored among these alone, as is published.

    out: a CSV file to which each image goes, the most confident mistakes first: its true and
        predicted class, their probabilities, and whether it counts in top1 and top5 (0 or 100).
    collect_device, collect_dir, prefix: as in every metric of MMEngine.

    Raises ValueError where a prediction or a true class is missing, or a class is not one of the
    model's.
    """

    default_prefix = ''  # plain names; None would make MMEngine warn
    main_metric = 'top1'
    aggregation: ClassVar[Mapping[str, str]] = {
        'top1': 'over all images alike',
        'top5': 'over all images alike',
        'mean_class_accuracy': 'over all classes that have images alike',
    }

    def __init__(
        self,
        *,
        out: str | Path | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.out = out
        self._num_classes = 0
        self._told = False

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Count a batch. data_samples: with `pred_scores`, `gt_label` and `img_path`."""
        for sample in data_samples:
            path = str(sample.get('img_path', f'image {len(self.results)}'))
            for name, step in (
                ('gt_label', 'add its class'),
                ('pred_scores', 'score the predictions of an ImageClassifier'),
            ):
                if sample.get(name) is None:
                    raise ValueError(f'{path} has no {name}; {step}')
            self._num_classes = len(sample['pred_scores'])
            if not torch.as_tensor(sample['pred_scores']).isfinite().all():
                raise ValueError(
                    f'the prediction of {path} is not finite; lower the learning rate, or compute '
                    'in fp32 (without --amp, fp16=False of the loop)'
                )
            counted = _counted(path, self._among(sample['pred_scores']), int(sample['gt_label']))
            told = {key: sample[key] for key in ('corruption', 'severity') if sample.get(key)}
            self.results.append(replace(counted, **told))

    def compute_metrics(self, results: list[ClassifiedImage]) -> dict[str, float]:
        """The scores of all images; called on the main process alone."""
        if not results:
            raise ValueError('no image to score; is the split empty?')
        names = self._names()
        if self.out is not None:
            write_classified(self.out, results, names)
        return self.scores(results)

    def scores(self, results: Sequence[ClassifiedImage]) -> dict[str, float]:
        """The named scores."""
        ranks = np.array([image.rank for image in results])
        labels = np.array([image.label for image in results])
        each = class_accuracies(ranks, labels, self._num_classes)
        empty = int(np.isnan(each).sum())
        if empty and not self._told:
            self._told = True
            print_log(
                f'{empty} of {self._num_classes} classes have no image here: left out of '
                'mean_class_accuracy',
                logger='current',
            )
        scores = {'top1': top_k(ranks, 1)}
        if self._num_classes > 5:
            scores['top5'] = top_k(ranks, 5)
        return {**scores, 'mean_class_accuracy': float(np.nanmean(each))}

    def _among(self, scores: Any) -> NDArray[np.float32]:
        """The scores (C,), those of classes that are not evaluated at minus infinity."""
        values = torch.as_tensor(scores).float().cpu().numpy()
        evaluated = (self.dataset_meta or {}).get('evaluated_classes')
        if evaluated is None:
            return values
        among = np.full_like(values, -np.inf)
        among[list(evaluated)] = values[list(evaluated)]
        return among

    def _names(self) -> tuple[str, ...]:
        names = tuple((self.dataset_meta or {}).get('classes') or ())
        if names and len(names) != self._num_classes:
            raise ValueError(
                f'the model tells {self._num_classes} classes apart, but the data set names '
                f'{len(names)}; set model.num_classes={len(names)}'
            )
        return names or tuple(str(number) for number in range(self._num_classes))


def _counted(path: str, values: NDArray[np.float32], label: int) -> ClassifiedImage:
    if not 0 <= label < len(values):
        raise ValueError(
            f'{path} has the class {label}, but the model {len(values)} classes; set '
            'model.num_classes to those of the data set'
        )
    predicted = int(values.argmax())
    rank = int(ranks_of_truth(values[None], np.array([label]))[0])
    return ClassifiedImage(
        path, label, predicted, rank, float(values[predicted]), float(values[label])
    )


def write_classified(
    path: str | Path, images: Sequence[ClassifiedImage], names: Sequence[str]
) -> None:
    """Write what became of each image as a CSV file, the most confident mistakes first.

    names: of the classes.
    """
    ordered = sorted(
        images, key=lambda i: (i.rank == 0, i.score_of_truth - i.score, i.score, i.path)
    )

    def write(temporary: Path) -> None:
        with temporary.open('w', newline='', encoding='utf-8') as file:
            table = csv.writer(file)
            columns = ('image', 'class', 'predicted', 'probability', 'probability_of_class')
            table.writerow([*columns, 'top1', 'top5'])
            for image in ordered:
                table.writerow(
                    [
                        image.path,
                        names[image.label],
                        names[image.predicted],
                        f'{image.score:.6f}',
                        f'{image.score_of_truth:.6f}',
                        *(100 * int(image.rank < k) for k in (1, 5)),
                    ]
                )

    write_atomically(path, write)
