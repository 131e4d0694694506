"""Predictions as files."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gps_seg.files.errors import explained_write
from gps_seg.prediction.classes import Classes
from gps_seg.prediction.inputs import Item
from gps_seg.prediction.measuring import Measures, rows_of
from gps_seg.prediction.outputs import Outputs
from gps_seg.prediction.pipeline import Pixels
from gps_seg.prediction.prediction import Prediction
from gps_seg.prediction.predictor import Sample
from gps_seg.visualization import overlay_image

FULL_SCALE = 65535  # of a 16-bit PNG: probability 1
OPACITY = 0.5

Rows = list[tuple[str, ...]]


def write_prediction(
    item: Item, sample: Sample, prediction: Prediction, outputs: Outputs, classes: Classes
) -> Rows:
    """Write all files of an image. Returns its lines of the table, if there is one.

    Raises NotWritten where a file cannot be written.
    """
    mask, probabilities = prediction.mask, prediction.probabilities
    write_png(outputs.mask(item), visible(mask, classes, as_ids=outputs.as_ids))
    if outputs.overlay:
        write_png(outputs.picture(item), picture_of(sample.image, mask, classes))
    if outputs.probabilities:
        write_bytes(outputs.probability(item), encoded_probabilities(probabilities))
    if not outputs.table:
        return []
    measures = Measures.of(mask, probabilities)
    return rows_of(str(item.path), mask, measures, classes.names)


def visible(mask: NDArray[np.uint8], classes: Classes, *, as_ids: bool) -> NDArray[np.uint8]:
    """What is stored of a mask: 0 and 255 for two classes unless `as_ids`, else class ids."""
    return mask * np.uint8(255) if classes.is_binary and not as_ids else mask


def encoded_probabilities(probabilities: NDArray[np.float32]) -> bytes:
    """A 16-bit PNG of the foreground for two classes (65535 is 1), else an .npz in float16.

    probabilities: (C, H, W). The array of the .npz is called `probabilities`.
    """
    if len(probabilities) == 2:
        scaled = np.rint(probabilities[1].astype(np.float64) * FULL_SCALE).astype(np.uint16)
        return cv2.imencode('.png', scaled)[1].tobytes()
    content = io.BytesIO()
    np.savez_compressed(content, probabilities=probabilities.astype(np.float16))
    return content.getvalue()


def picture_of(image: Pixels, mask: NDArray[np.uint8], classes: Classes) -> NDArray[np.uint8]:
    """The mask over its image, blue first. image: (H, W, 3), blue first."""
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    if classes.is_binary:
        drawn = overlay_image(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), prediction=mask)
        return cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
    palette = np.array(classes.palette, dtype=np.float64)[:, ::-1]
    blended = (1 - OPACITY) * pixels + OPACITY * palette[mask]
    # A black class is left as the image is: the background, as a rule.
    black: NDArray[np.bool_] = np.logical_not(palette.any(axis=1))
    return np.where(black[mask][..., None], pixels, np.rint(blended).astype(np.uint8))


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a PNG file, (H, W) or (H, W, 3) blue first."""
    write_bytes(path, cv2.imencode('.png', pixels)[1].tobytes())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or none: beside its place, then renamed.

    Unlike `write_content`, it does not wait for the disk and looks through no folder, since there
    may be a hundred thousand files. Raises NotWritten that names the next step.
    """
    with explained_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f'.{path.name}.{os.getpid()}.part')
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
