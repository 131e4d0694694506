"""A tuned classifier that takes images and gives classes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from numpy.typing import NDArray

from gps_seg.prediction.classes import Classes
from gps_seg.prediction.pipeline import dataset_of
from gps_seg.prediction.predictor import Predictor, Sample
from gps_seg.prediction.quiet import quietly
from gps_seg.prediction.sources import Source, is_delta, read_delta

CLASSIFIERS = ('ImageClassifier',)


@dataclass(frozen=True, eq=False)
class ClassPrediction:
    """The class of one image.

    label: the most probable class, 0 to C - 1; name: what it is called.
    probabilities: (C,) float32, which add up to 1.
    classes: the C names. path: the file that the image was read from; None for an array.
    """

    label: int
    name: str
    probabilities: NDArray[np.float32]
    classes: tuple[str, ...]
    path: Path | None = None

    @property
    def probability(self) -> float:
        """Of the most probable class."""
        return float(self.probabilities[self.label])

    def top(self, num: int = 5) -> list[tuple[str, float]]:
        """Names and probabilities of the most probable classes, at most all."""
        order = np.argsort(-self.probabilities, kind='stable')[:num]
        return [(self.classes[place], float(self.probabilities[place])) for place in order]

    def __repr__(self) -> str:
        name = f'{self.path}, ' if self.path is not None else ''
        return f'ClassPrediction({name}{self.name}, {100 * self.probability:.1f} %)'


class ClassPredictor(Predictor):
    """A classifier with its pipeline; `gps_seg.load` makes it.

    A Predictor whose predictions are a ClassPrediction each.
    """

    def predict(self, samples: Sequence[Sample]) -> list[Any]:
        """Classify samples that `read` made, in their order, in batches of one input size each."""
        made: list[ClassPrediction | None] = [None] * len(samples)
        for places in self._batches(samples):
            batch = pseudo_collate([samples[place].packed for place in places])
            with self.tasks.use(self.tasks.current), torch.no_grad(), quietly():
                found = self.model.test_step(batch)
            for place, sample in zip(places, found, strict=True):
                made[place] = self._of_class(samples[place], sample)
        return [prediction for prediction in made if prediction is not None]

    def _of_class(self, sample: Sample, predicted: Any) -> ClassPrediction:
        scores = predicted.pred_scores.float().cpu().numpy()
        names = self.classes.names
        if len(scores) != len(names):
            raise ValueError(
                f'the model tells {len(scores)} classes apart, but {len(names)} are named '
                f'({", ".join(names[:8])}); give both the same number'
            )
        label = int(predicted.pred_label)
        return ClassPrediction(label, names[label], scores, names, sample.path)


def is_classifier(config: Config) -> bool:
    """Whether the model of a config gives classes of images instead of masks."""
    return str(config.model.get('type', '')).rpartition('.')[2] in CLASSIFIERS


def class_names(source: Source) -> Classes:
    """The names of the classes: as the delta tells them, else as the data set has them.

    Raises ValueError or FileNotFoundError where neither is at hand.
    """
    names: Sequence[str] = ()
    if source.weights is not None and is_delta(source.weights):
        told = json.loads(read_delta(source.weights).metadata.get('dataset_meta', '{}'))
        names = told.get('classes') or ()
    if not names:
        dataset = DATASETS.build({**dataset_of(source.config).to_dict(), 'lazy_init': True})
        names = dataset.metainfo.get('classes') or ()
    if len(names) < 2:
        raise ValueError('the data set of the config names no classes; give it classes=(...)')
    return Classes(tuple(map(str, names)), ())
