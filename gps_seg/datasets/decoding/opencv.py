"""JPEG and PNG through OpenCV, the fastest reader of both."""

from pathlib import Path

import cv2
import numpy as np

from gps_seg.datasets.decoding.notes import noting_stderr
from gps_seg.datasets.decoding.picture import Picture, turned
from gps_seg.datasets.decoding.pillow import orientation_of
from gps_seg.datasets.decoding.signatures import JPEG_START, why_unreadable


def decode(content: bytes, flags: int, path: str | Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Decode a file's bytes. Returns the pixels and what libjpeg or libpng warned of.

    Raises ValueError, naming the file, where the bytes are no image.
    """
    data = np.frombuffer(content, np.uint8)

    def work() -> np.ndarray | None:
        try:
            return cv2.imdecode(data, flags)
        except cv2.error:
            return None

    pixels, notes = noting_stderr(work)
    if pixels is None:
        said = f' ({"; ".join(notes)})' if notes else ''
        raise ValueError(f'{path} {why_unreadable(content)}{said}')
    return pixels, notes


def decode_colours(content: bytes, path: str | Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """A JPEG of one or three channels, or a PNG, as (H, W, 3), blue first, turned by its EXIF."""
    return decode(content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH, path)


def decode_values(content: bytes, path: str | Path) -> Picture:
    """A JPEG or a PNG without palette with its values as stored."""
    pixels, notes = decode(content, cv2.IMREAD_UNCHANGED, path)
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        order = [2, 1, 0, *range(3, pixels.shape[2])]
        pixels = pixels[..., order]
    lossy = content.startswith(JPEG_START)
    bits = 8
    if not lossy and pixels.ndim == 2 and content[24] < 8:
        # libpng spreads 1, 2 and 4 bits over 0..255, which would change the numbers of classes.
        bits = content[24]
        pixels = pixels // np.uint8(255 // (2**bits - 1))
    picture = Picture(pixels, bits=bits, lossy=lossy, notes=notes)
    return turned(picture, orientation_of(content))
