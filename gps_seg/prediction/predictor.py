"""A tuned model that takes images and gives masks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor

from gps_seg.delta import Delta, Tasks
from gps_seg.prediction.classes import Classes
from gps_seg.prediction.pipeline import ImagePipeline, Pixels, as_blue_first
from gps_seg.prediction.prediction import Prediction
from gps_seg.prediction.probabilities import decide, foreground_threshold, probabilities_of
from gps_seg.prediction.quiet import quietly
from gps_seg.prediction.windows import Window, over_windows


@dataclass(frozen=True, eq=False)
class Sample:
    """An image that was read: its pixels, (H, W, 3) blue first, and what the model takes of it.

    packed: None where the image is predicted window by window.
    """

    image: Pixels
    path: Path | None
    packed: dict[str, Any] | None


class Predictor:
    """A model with its pipeline; `gps_seg.load` makes it.

    model: of MMEngine, with its weights. classes: what its channels mean. batch_size: images (or
    windows) of a forward pass. threshold: the probability above which a pixel is foreground, for
    two classes; None: as the model itself decides. window: predict images that are larger than this
    window by window; None: every image as a whole. deltas: by name, what `use` switches between,
    each verified here; the model holds the first of them. `tasks` owns them and the model.

    It is not to be shared by threads that predict at the same time, other than by
    `with predictor.tasks.use(name):` around each prediction; `read` may be called from any.
    """

    def __init__(
        self,
        model: Any,
        pipeline: ImagePipeline,
        classes: Classes,
        *,
        batch_size: int = 1,
        threshold: float | None = None,
        window: Window | None = None,
        deltas: Mapping[str, Delta] | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f'batch_size must be at least 1, got {batch_size}')
        self.model = model
        self.pipeline = pipeline
        self.classes = classes
        self.batch_size = batch_size
        self.window = window
        self.threshold = _checked(threshold, classes)
        self.tasks = Tasks(model, deltas)
        if deltas:
            self.tasks.stay(next(iter(deltas)))

    @property
    def deltas(self) -> Mapping[str, Delta]:
        """What `use` switches between, by name."""
        return self.tasks.deltas

    @property
    def current(self) -> str | None:
        """The delta that the model holds; None where `use` has nothing to switch between."""
        return self.tasks.current

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.model.parameters()).device

    def use(self, name: str) -> None:
        """Hold another delta: the values of the one before go out exactly, those of this come in.

        Raises ValueError for a name that `deltas` does not have.
        """
        self.tasks.stay(name)

    def read(self, image: Any, entry: Mapping[str, Any] | None = None) -> Sample:
        """Read and prepare an image: a path, an array (red first) or a PIL image.

        entry: what a data set says of a file besides its path, such as the page in it.

        Raises FileNotFoundError or ValueError, naming the file, where it cannot be read.
        """
        if isinstance(image, str | Path):
            path = Path(image)
            pixels = self.pipeline.read(path, entry)
        else:
            path, pixels = None, as_blue_first(image)
        packed = None if self._in_windows(pixels) else self.pipeline.pack(pixels, path)
        return Sample(pixels, path, packed)

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """Predict samples that `read` made, in their order, in batches of one input size each."""
        made: list[Prediction | None] = [None] * len(samples)
        for places in self._batches(samples):
            found = self._forward([samples[place].packed for place in places])
            for place, (mask, probabilities) in zip(places, found, strict=True):
                made[place] = self._prediction(samples[place], mask, probabilities)
        for place, sample in enumerate(samples):
            if sample.packed is None:
                probabilities = over_windows(self._of_windows, sample.image, self._window())
                mask = decide(probabilities, self._threshold_of(probabilities))
                made[place] = self._prediction(sample, mask, probabilities)
        return [prediction for prediction in made if prediction is not None]

    def __call__(self, images: Any) -> Any:
        """Predict an image, or a list of images.

        images: a path, an array of (H, W), (H, W, 3) red first or (H, W, 4), or a PIL image; or a
            list or tuple of these. Returns a `Prediction`, or a list of them in the same order.

        Raises FileNotFoundError or ValueError, naming the file, where one cannot be read.
        """
        if not isinstance(images, list | tuple):
            return self.predict([self.read(images)])[0]
        made: list[Prediction] = []
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            made += self.predict([self.read(image) for image in batch])
        return made

    def _batches(self, samples: Sequence[Sample]) -> Iterable[list[int]]:
        """Places of samples whose inputs are equally large, at most `batch_size` together."""
        by_size: dict[tuple[int, ...], list[int]] = {}
        for place, sample in enumerate(samples):
            if sample.packed is not None:
                by_size.setdefault(tuple(sample.packed['inputs'].shape), []).append(place)
        for places in by_size.values():
            for start in range(0, len(places), self.batch_size):
                yield places[start : start + self.batch_size]

    def _forward(self, packed: Sequence[Any]) -> list[tuple[Tensor, Tensor]]:
        """The mask (H, W) and the probabilities (C, H, W) of each of a batch, on the device."""
        with self.tasks.use(self.tasks.current), torch.no_grad(), quietly():
            samples = self.model.test_step(pseudo_collate(list(packed)))
            found = []
            for sample in samples:
                probabilities = probabilities_of(self.model, sample.seg_logits.data)
                self._check_channels(probabilities)
                mask = sample.pred_sem_seg.data[0]
                if self.threshold is not None:
                    mask = decide(probabilities, self.threshold)
                found.append((mask, probabilities))
        return found

    def _of_windows(self, windows: Sequence[Pixels]) -> Tensor:
        found = self._forward([self.pipeline.pack(window) for window in windows])
        return torch.stack([probabilities for _, probabilities in found]).cpu()

    def _window(self) -> Window:
        assert self.window is not None
        return self.window

    def _in_windows(self, image: Pixels) -> bool:
        return self.window is not None and max(image.shape[:2]) > self.window.size

    def _threshold_of(self, probabilities: Tensor) -> float | None:
        """What a blended map of two classes is cut at: the own threshold, else the model's."""
        if self.threshold is not None or len(probabilities) > 2:
            return self.threshold
        return foreground_threshold(self.model)

    def _prediction(self, sample: Sample, mask: Tensor, probabilities: Tensor) -> Prediction:
        return Prediction(
            mask.to('cpu', torch.uint8).numpy(),
            probabilities.float().cpu().numpy().astype(np.float32, copy=False),
            self.classes.names,
            sample.path,
        )

    def _check_channels(self, probabilities: Tensor) -> None:
        if len(probabilities) != len(self.classes.names):
            raise ValueError(
                f'the model tells {len(probabilities)} classes apart, but the data set of the '
                f'config names {len(self.classes.names)} ({", ".join(self.classes.names[:8])}); '
                'give both the same number'
            )


def _checked(threshold: float | None, classes: Classes) -> float | None:
    if threshold is None:
        return None
    if not 0 < threshold < 1:
        raise ValueError(f'a threshold is a probability between 0 and 1, not {threshold}')
    if not classes.is_binary:
        raise ValueError(
            f'a threshold is for one foreground; of {len(classes.names)} classes the most probable '
            'one is taken'
        )
    return threshold
