"""Image files of any depth and colour, as the pipeline wants them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

JPEG_START, JPEG_SCAN, JPEG_END = b'\xff\xd8', b'\xff\xda', b'\xff\xd9'
PNG_START, PNG_END = b'\x89PNG', b'IEND'


def read_file(path: str | Path) -> bytes:
    """The bytes of an image file that is there and was not cut off.

    Some decoders fill what a cut file lacks with grey, so JPEG and PNG are asked for their end.
    Raises FileNotFoundError, or ValueError for a file that is empty or cut off.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no file {path}')
    content = path.read_bytes()
    cut_jpeg = content.startswith(JPEG_START) and (
        content.rfind(JPEG_END) < content.rfind(JPEG_SCAN) or JPEG_SCAN not in content
    )
    cut_png = content.startswith(PNG_START) and PNG_END not in content[-1024:]
    if not content or cut_jpeg or cut_png:
        raise ValueError(f'{path} is cut off ({len(content)} bytes); fetch it again or remove it')
    return content


def decode(content: bytes, flags: int, path: str | Path) -> np.ndarray:
    """Decode an image file's bytes with OpenCV. Raises ValueError where it is not an image."""
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ValueError(
            f'{path} cannot be read as an image; it is damaged or of an unknown format: '
            'fetch or convert it again'
        )
    return pixels


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Bring deeper pixels to 8 bits: their smallest value becomes 0, their largest 255.

    The range is the image's own, since 16-bit files hold 10, 12 or 16 bits alike; 8-bit images stay
    as they are, and an image of one deeper value becomes black.
    """
    if pixels.dtype == np.uint8:
        return pixels
    values = pixels.astype(np.float64)
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all():
        raise ValueError('it holds values that are not finite')
    return np.rint((values - low) * (255 / ((high - low) or 1))).astype(np.uint8)


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read `img_path` into `img`: (H, W, 3) uint8, blue first, turned as its EXIF tag says.

    Grey images get three equal channels, alpha is dropped, deeper images are scaled to 8 bits by
    their own range. Sets `img_shape` and `ori_shape` = (H, W). Raises FileNotFoundError or
    ValueError, naming the file, where it is missing, cut off or not an image.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read the image of one sample."""
        path = results['img_path']
        pixels = decode(read_file(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH, path)
        try:
            image = to_uint8(pixels)
        except ValueError as error:
            raise ValueError(f'{path}: {error}; convert it to 8 or 16 bits') from error
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results
