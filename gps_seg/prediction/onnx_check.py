"""Whether ONNX files give the masks, or classes, that the model gives, on real images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gps_seg.prediction.classifier import ClassPrediction, ClassPredictor
from gps_seg.prediction.onnx_export import Graph
from gps_seg.prediction.predictor import Predictor, Sample
from gps_seg.prediction.probabilities import foreground_threshold

# Of the pixels of all images together; and of the largest logit.
LEAST_EQUAL = 0.999
LARGEST_DIFFERENCE = 1e-3
# Sizes of batches that take turns: a graph that holds for one of them alone fails.
BATCHES = (1, 3, 2)


@dataclass(frozen=True)
class Agreement:
    """num_images: compared. equal: share of their pixels with the same class, or, `of` images, of
    themselves. difference: the largest one of two logits, as a share of the largest logit.
    """

    num_images: int
    equal: float
    difference: float
    of: str = 'pixels'

    @property
    def is_good(self) -> bool:
        """Whether the files may be kept."""
        return self.equal >= LEAST_EQUAL and self.difference <= LARGEST_DIFFERENCE

    def __str__(self) -> str:
        what = f'the pixels of {self.num_images}' if self.of == 'pixels' else f'{self.num_images}'
        return (
            f'{100 * self.equal:.4f} % of {what} images have the same '
            f'class, logits differ by at most {self.difference:.1e} of the largest'
        )


def input_of(sample: Sample, predictor: Predictor) -> NDArray[np.float32]:
    """(3, H, W) float32 in [0, 255], in the order of colours that the graph takes."""
    assert sample.packed is not None
    pixels = sample.packed['inputs'].float()
    turned = predictor.model.data_preprocessor._channel_conversion
    return (pixels[[2, 1, 0]] if turned else pixels).numpy()


def input_size(samples: Sequence[Sample]) -> tuple[int, int]:
    """Height and width of the model's input. Raises ValueError where images differ in it."""
    sizes = {tuple(sample.packed['inputs'].shape[1:]) for sample in samples if sample.packed}
    if len(sizes) != 1:
        listed = ', '.join(f'{width} x {height}' for height, width in sorted(sizes))
        raise ValueError(
            f'images come to the model in several sizes ({listed}), an ONNX file is of one; check '
            'it on images of one size (--images FOLDER; square ones for a SAM that pads), or let '
            'the test pipeline resize all to one'
        )
    ((height, width),) = sizes
    return height, width


def compare(
    predictor: Predictor,
    graphs: Mapping[str, Graph],
    files: Mapping[str, Path],
    samples: Sequence[Sample],
) -> Agreement:
    """Run the files with onnxruntime, one after the other, and compare with the model.

    graphs, files: by the same names, in the order in which they follow on each other.
    """
    import onnxruntime

    providers = ['CPUExecutionProvider']
    sessions = [onnxruntime.InferenceSession(str(files[n]), providers=providers) for n in graphs]
    num_equal = num_pixels = 0
    difference = largest = 0.0
    start = turn = 0
    while start < len(samples):
        batch = samples[start : start + BATCHES[turn % len(BATCHES)]]
        start, turn = start + len(batch), turn + 1
        inputs = np.stack([input_of(sample, predictor) for sample in batch])
        logits = _run(sessions, graphs, inputs)
        expected = _forward(predictor, graphs, inputs)
        difference = max(difference, float(np.abs(logits - expected).max()))
        largest = max(largest, float(np.abs(expected).max()))
        made = predictor.predict(batch)
        for sample, prediction, one in zip(batch, made, logits, strict=True):
            if isinstance(prediction, ClassPrediction):
                num_equal += int(one.argmax() == prediction.label)
                num_pixels += 1
                continue
            mask = mask_of(one, sample.image.shape, predictor)
            num_equal += int((mask == prediction.mask).sum())
            num_pixels += mask.size
    share = difference / largest if largest else float(difference > 0)
    of = 'images' if isinstance(predictor, ClassPredictor) else 'pixels'
    return Agreement(len(samples), num_equal / num_pixels, share, of)


def mask_of(
    logits: NDArray[np.float32], shape: Sequence[int], predictor: Predictor
) -> NDArray[np.uint8]:
    """What a user of the files does with logits (C, H, W): resize them, then decide."""
    tensor = torch.from_numpy(logits)[None]
    aligned = bool(getattr(predictor.model, 'align_corners', False))
    resized = F.interpolate(tensor, tuple(shape[:2]), mode='bilinear', align_corners=aligned)[0]
    if len(resized) > 1 and predictor.threshold is None:
        return resized.argmax(dim=0).numpy().astype(np.uint8)
    threshold = predictor.threshold or foreground_threshold(predictor.model)
    foreground = resized.softmax(dim=0)[1] if len(resized) > 1 else resized[0].sigmoid()
    return (foreground > threshold).numpy().astype(np.uint8)


def _run(
    sessions: Sequence[Any], graphs: Mapping[str, Graph], inputs: NDArray[np.float32]
) -> NDArray[np.float32]:
    values = inputs
    for session, graph in zip(sessions, graphs.values(), strict=True):
        (values,) = session.run(None, {graph.names[0]: values})
    return values


def _forward(
    predictor: Predictor, graphs: Mapping[str, Graph], inputs: NDArray[np.float32]
) -> NDArray[np.float32]:
    values: Tensor = torch.from_numpy(inputs).to(predictor.device)
    with torch.no_grad():
        for graph in graphs.values():
            values = graph.module(values)
    return values.cpu().numpy()
