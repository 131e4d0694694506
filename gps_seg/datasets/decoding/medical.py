"""DICOM and NIfTI slices, of the extra `medical`."""

import importlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from gps_seg.datasets.decoding.notes import noting_python
from gps_seg.datasets.decoding.pages import choose_page
from gps_seg.datasets.decoding.picture import Picture


def _load(module: str, path: str | Path) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{path} needs {module.partition('.')[0]}; pip install 'gps-seg[medical]'"
        ) from error


def decode_dicom(
    content: bytes, path: str | Path, page: int | None = None, *, labels: bool = False
) -> Picture:
    """One frame of a DICOM file.

    Grey values pass the file's modality table and its window, as a viewer shows them; MONOCHROME1
    is inverted. labels: values as stored, for masks.
    """
    pydicom = _load('pydicom', path)
    tables = _load('pydicom.pixels', path)
    notes: list[str] = []
    with noting_python(notes, 'pydicom'):
        try:
            dataset = pydicom.dcmread(BytesIO(content))
            pixels = dataset.pixel_array
        except Exception as error:  # pydicom and its plugins raise whatever comes
            raise ValueError(
                f'{path}: DICOM without pixels that can be decoded ({" ".join(str(error).split())})'
            ) from error
        kind = str(dataset.get('PhotometricInterpretation', ''))
        if kind == 'PALETTE COLOR' and not labels:
            pixels = tables.apply_color_lut(pixels, dataset)
        elif kind.startswith('MONOCHROME') and not labels:
            pixels = tables.apply_voi_lut(tables.apply_modality_lut(pixels, dataset), dataset)
            if kind == 'MONOCHROME1':
                pixels = pixels.max() - pixels.astype(np.float64)
    num_frames = int(dataset.get('NumberOfFrames', 1) or 1)
    index = choose_page(num_frames, page, path)
    return Picture(pixels[index] if num_frames > 1 else pixels, notes=tuple(notes))


def count_dicom_frames(path: str | Path) -> int:
    """The number of frames of a DICOM file."""
    pydicom = _load('pydicom', path)
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as error:
        raise ValueError(f'{path} cannot be read as DICOM ({error}); fetch it again') from error
    return int(dataset.get('NumberOfFrames', 1) or 1)


def decode_nifti(path: str | Path, page: int | None = None) -> Picture:
    """One slice of a NIfTI file along its third axis; its first axis runs across the image."""
    nibabel = _load('nibabel', path)
    image = _nifti(nibabel, path)
    shape = image.shape
    index = choose_page(int(shape[2]) if len(shape) > 2 else 1, page, path)
    try:
        values = image.dataobj[(slice(None), slice(None), index, *[0] * (len(shape) - 3))]
    except IndexError:
        values = np.asanyarray(image.dataobj)
    except Exception as error:
        raise ValueError(f'{path} is damaged ({error}); fetch it again') from error
    return Picture(np.ascontiguousarray(np.asarray(values).T))


def count_slices(path: str | Path) -> int:
    """The number of slices of a NIfTI file."""
    shape = _nifti(_load('nibabel', path), path).shape
    return int(shape[2]) if len(shape) > 2 else 1


def _nifti(nibabel: Any, path: str | Path) -> Any:
    try:
        image = nibabel.load(path)
    except Exception as error:
        raise ValueError(f'{path} cannot be read as NIfTI ({error}); fetch it again') from error
    if len(image.shape) < 2 or any(n > 1 for n in image.shape[3:]):
        raise ValueError(f'{path} has the shape {image.shape}; give images of two or three axes')
    return image
