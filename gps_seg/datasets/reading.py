"""Image files of any kind, as the pipeline wants them: the one reader of images."""

from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from gps_seg.datasets.decoding import (
    JPEG_END,
    JPEG_SCAN,
    JPEG_START,
    PNG_END,
    PNG_START,
    as_image,
    count_dicom_frames,
    count_frames,
    count_slices,
    count_tiff_pages,
    decode_colours,
    decode_picture,
    is_nifti,
    jpeg_channels,
    kind_of,
    report,
    to_uint8,
)

# Of files that may hold several pages, by their kind.
COUNTS = {'tiff': count_tiff_pages, 'dicom': count_dicom_frames, 'other': count_frames}


def read_file(path: str | Path) -> bytes:
    """The bytes of an image file that is there and was not cut off.

    Some decoders fill what a cut file lacks with grey, so JPEG and PNG are asked for their end.
    Raises FileNotFoundError, or ValueError for a file that is empty or cut off.
    """
    path = Path(path)
    if not path.is_file():
        if path.is_symlink():
            raise FileNotFoundError(f'no file {path}: it links to {path.readlink()}, which is gone')
        raise FileNotFoundError(f'no file {path}')
    content = path.read_bytes()
    cut_jpeg = content.startswith(JPEG_START) and (
        content.rfind(JPEG_END) < content.rfind(JPEG_SCAN) or JPEG_SCAN not in content
    )
    cut_png = content.startswith(PNG_START) and PNG_END not in content[-1024:]
    if not content or cut_jpeg or cut_png:
        raise ValueError(f'{path} is cut off ({len(content)} bytes); fetch it again or remove it')
    return content


def read_image(path: str | Path, page: int | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read an image file of any kind. Returns it, and what its decoder warned of.

    The image is (H, W, 3) uint8, blue first, turned as its EXIF tag says. Grey gets three equal
    channels, a palette gives its colours, alpha is dropped; deeper values are scaled to 8 bits by
    the image's own range. page: of a file of several, from 0 on.

    Raises FileNotFoundError, or ValueError that names the file and the next step.
    """
    return decode_image(read_file(path), path, page)


def decode_image(
    content: bytes, path: str | Path, page: int | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """`read_image` for bytes that are already here. path: what an error calls them."""
    kind = kind_of(content, path)
    if kind == 'png' or (kind == 'jpeg' and jpeg_channels(content) != 4):
        colours, notes = decode_colours(content, path)
    else:
        picture = decode_picture(content, path, page)
        colours, notes = None, picture.notes
    try:
        return (as_image(picture) if colours is None else to_uint8(colours)), notes
    except ValueError as error:
        raise ValueError(f'{path}: {error}; convert it to 8 or 16 bits') from error


def count_pages(path: str | Path) -> int:
    """Pages of a TIFF, slices of a NIfTI file, frames of a DICOM file or an animated picture."""
    if is_nifti(path):
        return count_slices(path)
    with Path(path).open('rb') as file:
        start = file.read(132)
    count = COUNTS.get(kind_of(start, path))
    return 1 if count is None else count(path)


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read `img_path` into `img`: (H, W, 3) uint8, blue first, as `read_image` gives it.

    Sets `img_shape` and `ori_shape` = (H, W). What the decoder warns of is said once for each file
    (damaged bytes of a JPEG, odd tags of a TIFF). page: of files of several pages, also that of the
    sample (`results['page']`). strict: a decoder's warning is an error. An image that the data set
    holds itself (`stored_image`, such as one of a CIFAR pickle) is taken from there.

    Raises FileNotFoundError or ValueError, naming the file, where it is missing, cut off or not an
    image.
    """

    def __init__(self, page: int | None = None, strict: bool = False) -> None:
        self.page, self.strict = page, strict

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read the image of one sample."""
        path = results['img_path']
        page = results.get('page') if self.page is None else self.page
        notes: tuple[str, ...] = ()
        if 'stored_image' in results:
            image = results.pop('stored_image')
        else:
            image, notes = read_image(path, page)
        if notes:
            report(path, notes, strict=self.strict)
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results
