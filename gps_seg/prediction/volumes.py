"""NIfTI volumes: predicted slice by slice, and written as volumes in the same space."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gps_seg.datasets.reading import to_uint8
from gps_seg.files import write_atomically
from gps_seg.prediction.classes import Classes
from gps_seg.prediction.inputs import Item
from gps_seg.prediction.measuring import Measures, rows_of
from gps_seg.prediction.outputs import Outputs
from gps_seg.prediction.predictor import Predictor
from gps_seg.prediction.writing import Rows


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume that was read. values: (X, Y, Z), as stored."""

    values: NDArray[Any]
    image: Any


@dataclass(frozen=True, eq=False)
class PredictedVolume:
    """mask: (X, Y, Z) uint8. probabilities: (X, Y, Z) of one foreground, or (X, Y, Z, C)."""

    mask: NDArray[np.uint8]
    measures: Measures
    probabilities: NDArray[np.float32] | None


def check_reader() -> Any:
    """The library that reads volumes. Raises ValueError where it is not installed."""
    try:
        import nibabel
    except ModuleNotFoundError as error:
        raise ValueError(
            "volumes (.nii, .nii.gz) need nibabel: pip install 'gps-seg[medical]'"
        ) from error
    return nibabel


def read_volume(path: Path) -> Volume:
    """Read a NIfTI file of three dimensions; a fourth one of length 1 is dropped.

    Raises FileNotFoundError or ValueError, naming the file.
    """
    nibabel = check_reader()
    if not path.is_file():
        raise FileNotFoundError(f'no file {path}')
    try:
        image = nibabel.load(path)
        values = np.asanyarray(image.dataobj)
    except Exception as error:  # damaged bytes make a parser raise anything
        raise ValueError(f'{path} cannot be read as a volume ({error})') from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3 or 0 in values.shape or values.dtype.kind not in 'uif':
        raise ValueError(
            f'{path} holds {" x ".join(map(str, values.shape))} of {values.dtype}; a volume has '
            'three dimensions of numbers'
        )
    if not np.isfinite(values).all():
        raise ValueError(f'{path}: it holds values that are not finite; replace them before')
    return Volume(values, image)


def predict_volume(
    predictor: Predictor, volume: Volume, *, keep_probabilities: bool
) -> PredictedVolume:
    """Predict every slice along the last axis, as `page` reads them for a training.

    Its first axis runs across the image, and its own range of values becomes 0 to 255.
    """
    mask = np.empty(volume.values.shape, np.uint8)
    num_classes = len(predictor.classes.names)
    measures = Measures(np.zeros(num_classes, np.int64), np.zeros(num_classes))
    shape = mask.shape if num_classes == 2 else (*mask.shape, num_classes)
    kept = np.empty(shape, np.float32) if keep_probabilities else None
    num_slices = volume.values.shape[-1]
    for start in range(0, num_slices, predictor.batch_size):
        places = range(start, min(start + predictor.batch_size, num_slices))
        slices = (np.ascontiguousarray(volume.values[:, :, place].T) for place in places)
        samples = [predictor.read(to_uint8(pixels)) for pixels in slices]
        for place, made in zip(places, predictor.predict(samples), strict=True):
            mask[:, :, place] = made.mask.T
            measures += Measures.of(made.mask, made.probabilities)
            if kept is not None and num_classes == 2:
                kept[:, :, place] = made.probabilities[1].T
            elif kept is not None:
                kept[:, :, place] = made.probabilities.transpose(2, 1, 0)
    return PredictedVolume(mask, measures, kept)


def write_volume(
    item: Item, volume: Volume, made: PredictedVolume, outputs: Outputs, classes: Classes
) -> Rows:
    """Write the class ids, and the probabilities, with the affine and header of the input.

    Returns the lines of the table, if there is one.
    """
    _save(outputs.mask(item), made.mask, volume.image)
    if made.probabilities is not None:
        _save(outputs.probability(item), made.probabilities, volume.image)
    if not outputs.table:
        return []
    return rows_of(str(item.path), made.mask, made.measures, classes.names)


def _save(path: Path, values: NDArray[Any], like: Any) -> None:
    nibabel = check_reader()
    header = like.header.copy()
    header.set_data_dtype(values.dtype)
    header['cal_min'] = header['cal_max'] = 0  # the input's window of display
    image = type(like)(values, like.affine, header)
    write_atomically(path, lambda temporary: nibabel.save(image, temporary))
