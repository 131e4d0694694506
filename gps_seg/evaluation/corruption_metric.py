"""The mean corruption error of ImageNet-C."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from mmengine.logging import print_log
from mmseg.registry import METRICS

from gps_seg.evaluation.classification import top_k
from gps_seg.evaluation.classification_metric import ClassificationMetric, ClassifiedImage

# Top-1 error of AlexNet on each corruption, the mean over the five severities, as a share.
# Hendrycks and Dietterich (arXiv:1903.12261); unrounded as in their repository
# hendrycks/robustness.
ALEXNET_ERRORS: Mapping[str, float] = {
    'gaussian_noise': 0.886428,
    'shot_noise': 0.894468,
    'impulse_noise': 0.922640,
    'defocus_blur': 0.819880,
    'glass_blur': 0.826268,
    'motion_blur': 0.785948,
    'zoom_blur': 0.798360,
    'snow': 0.866816,
    'frost': 0.826572,
    'fog': 0.819324,
    'brightness': 0.564592,
    'contrast': 0.853204,
    'elastic_transform': 0.646056,
    'pixelate': 0.717840,
    'jpeg_compression': 0.606500,
}
NUM_SEVERITIES = 5


@METRICS.register_module()
class CorruptionErrorMetric(ClassificationMetric):
    """Errors on ImageNet-C (arXiv:1903.12261), in percent; lower is better.

    Gives `mean_corruption_error`, the mean over the corruptions of the mean over the severities of
    the top-1 error, and `mCE`, where each corruption's error is divided by AlexNet's first. mCE is
    left out, and the log says so, where not all 15 corruptions at all 5 severities are scored: the
    mean of some of them is not the published number. Also what ClassificationMetric gives.

    Its options and errors are those of ClassificationMetric. Raises ValueError for an image of an
    unknown corruption: each data sample has to know its `corruption` and `severity`.
    """

    main_metric = 'top1'
    aggregation: ClassVar[Mapping[str, str]] = {
        **ClassificationMetric.aggregation,
        'mean_corruption_error': 'top-1 error, over severities, then over corruptions',
        'mCE': "top-1 error over severities by AlexNet's, then over corruptions; lower is better",
    }

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Count a batch. data_samples: as for ClassificationMetric, with their corruption."""
        for sample in data_samples:
            if sample.get('corruption') not in ALEXNET_ERRORS or sample.get('severity') is None:
                raise ValueError(
                    f'{sample.get("img_path", "an image")} has the corruption '
                    f'{sample.get("corruption")!r} at severity {sample.get("severity")!r}; '
                    'CorruptionErrorMetric is for ImageNet-C (spec imagenet-c) and its 15 '
                    'corruptions'
                )
        super().process(data_batch, data_samples)

    def scores(self, results: Sequence[ClassifiedImage]) -> dict[str, float]:
        errors = corruption_errors(results)
        means = {name: float(np.mean(list(each.values()))) for name, each in errors.items()}
        scores = {
            **super().scores(results),
            'mean_corruption_error': float(np.mean(list(means.values()))),
        }
        lacking = [name for name in ALEXNET_ERRORS if len(errors.get(name, ())) != NUM_SEVERITIES]
        if lacking:
            print_log(
                f'mCE is left out: it is over 15 corruptions at 5 severities, of which '
                f'{len(lacking)} corruptions are not scored or not at all severities '
                f'({", ".join(lacking[:3])}, ...); mean_corruption_error is not normalised',
                logger='current',
            )
            return scores
        relative = [means[name] / error for name, error in ALEXNET_ERRORS.items()]
        return {**scores, 'mCE': float(np.mean(relative))}


def corruption_errors(results: Sequence[ClassifiedImage]) -> dict[str, dict[int, float]]:
    """The top-1 error of each corruption at each severity, in percent."""
    ranks: dict[str, dict[int, list[int]]] = {}
    for image in results:
        ranks.setdefault(image.corruption, {}).setdefault(image.severity, []).append(image.rank)
    return {
        name: {severity: 100 - top_k(np.array(each), 1) for severity, each in sorted(found.items())}
        for name, found in ranks.items()
    }
