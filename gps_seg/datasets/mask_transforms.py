"""Mask files of any encoding, as background 0 and foreground 1."""

from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from PIL import Image

from gps_seg.datasets.reading import JPEG_START, decode, read_file

# Channels of a grey mask differ by no more than this after a JPEG's colour conversion.
GREY_TOLERANCE = 8
FIX = (
    'a mask has one background and one foreground value: save it so (0 and 255, as PNG), or give '
    'LoadMask a `threshold`'
)


def distinct(values: np.ndarray) -> np.ndarray:
    """The sorted distinct values of an array."""
    if values.dtype in (np.uint8, np.uint16):
        return np.flatnonzero(np.bincount(values.ravel()))  # much faster than sorting
    return np.unique(values)


def cluster_threshold(levels: np.ndarray, *, lossy: bool) -> float:
    """The middle between the two clusters of mask values; above it is foreground.

    levels: the sorted distinct values of a mask. Two clusters are told apart by a gap beside which
    both are narrow, so 0/1, 0/255, 0/65535 and the 0..16 and 239..255 of a JPEG all work. A mask of
    one value is all background if that is 0 and else all foreground; in a lossy file, which blurs
    its values, one narrow cluster is told by the middle of 0..255.

    Raises ValueError for anything else, saying what the values look like.
    """
    low, high = float(levels[0]), float(levels[-1])
    if lossy and high - low < 128:
        if high - low >= 64:
            raise ValueError(f'its values, {low:g} to {high:g}, are neither one cluster nor two')
        return 127.5
    if len(levels) == 1:
        return 0.5
    gaps = np.diff(levels.astype(np.float64))
    cut = int(gaps.argmax())
    last, first = float(levels[cut]), float(levels[cut + 1])
    # Values that scatter are noise only on a wide scale; on a narrow one they are class numbers.
    widest = (high - low) / 4 if high - low >= 128 else 0
    if max(last - low, high - first) > widest:
        raise ValueError(
            f'its values make more than two clusters ({len(levels)} values from {low:g} to '
            f'{high:g}, such as class or instance numbers, or soft edges)'
        )
    # Noise scatters on both sides; a few low values below a single high one mean something else.
    if not lossy and last > low and first == high and cut < 4:
        raise ValueError(
            f'its values {", ".join(f"{level:g}" for level in levels)} look like class numbers '
            f'with {high:g} for ignored pixels'
        )
    return (last + first) / 2


def grey_mask(values: np.ndarray, *, lossy: bool) -> np.ndarray:
    """Split grey mask values, (H, W), into background and foreground, bool."""
    levels = distinct(values)
    if lossy and 0 < levels[-1] <= 2:
        raise ValueError(f'its values, 0 to {levels[-1]}, are a 0/1 mask spoiled by JPEG')
    return values > cluster_threshold(levels, lossy=lossy)


def colour_mask(channels: np.ndarray, *, lossy: bool) -> np.ndarray:
    """Split a coloured mask, (H, W, 3), into black and the one other colour, bool."""
    codes = np.zeros(channels.shape[:2], np.uint8)
    for channel in range(3):
        values = channels[..., channel]
        high = values > cluster_threshold(distinct(values), lossy=lossy)
        codes |= high.astype(np.uint8) << channel
    found = distinct(codes)
    if len(found) > 2:
        raise ValueError(f'it has more than two clusters of colours ({len(found)})')
    if len(found) == 2 and found[0] != 0:
        raise ValueError('it has two colours of which none is black, the background')
    return codes > 0


def mask_of(pixels: np.ndarray, *, lossy: bool) -> np.ndarray:
    """Background and foreground, (H, W) bool, of decoded pixels with one to four channels.

    A mask that lies in the alpha channel alone is read from there, else alpha is ignored.
    """
    if pixels.ndim == 2:
        return grey_mask(pixels, lossy=lossy)
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    if alpha.size and (colours == colours[0, 0]).all():
        return grey_mask(alpha[..., 0], lossy=lossy)
    blue, green, red = (colours[..., channel] for channel in range(3))
    unequal = max(float(cv2.absdiff(blue, other).max()) for other in (green, red))
    if unequal <= (GREY_TOLERANCE if lossy else 0):
        return grey_mask(np.ascontiguousarray(green), lossy=lossy)
    return colour_mask(colours, lossy=lossy)


def read_mask_pixels(path: str | Path) -> tuple[np.ndarray, bool]:
    """Decode a mask file. Returns its pixels, (H, W) or (H, W, 3 | 4), and whether it is lossy.

    A palette of colours is read as its indices, as label tools write them; a palette of greys as
    its greys, since some programs sort white to index 0.
    """
    content = read_file(path)
    lossy = content.startswith(JPEG_START)
    if lossy:
        return decode(content, cv2.IMREAD_UNCHANGED, path), True
    try:
        with Image.open(BytesIO(content)) as image:
            if image.mode == 'P':
                indices = np.asarray(image)
                colours = np.asarray(image.convert('RGB'))
                grey = (colours == colours[..., :1]).all()
                return (colours[..., 0] if grey else indices), False
    except (OSError, SyntaxError, Image.DecompressionBombError):
        pass  # not one of Pillow's: OpenCV is asked next, and reports it
    pixels = decode(content, cv2.IMREAD_UNCHANGED, path)
    return pixels, content.startswith(b'RIFF')


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """Read `seg_map_path` into `gt_seg_map`: (H, W) uint8, 0 background, 1 foreground.

    Reads grey, RGB(A), palette, 16-bit and JPEG masks; the threshold is the middle of the two
    clusters of values unless `threshold` sets it (then a value above it, in the channel where that
    is largest, is foreground). Raises FileNotFoundError or ValueError, naming the file and what to
    do, where the file is unreadable, has more than two clusters, or is not of the image's size.
    """

    def __init__(self, threshold: float | None = None) -> None:
        self.threshold = threshold

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read the mask of one sample."""
        path = results['seg_map_path']
        pixels, lossy = read_mask_pixels(path)
        if 'ori_shape' in results and pixels.shape[:2] != tuple(results['ori_shape']):
            shapes = (results['ori_shape'], pixels.shape[:2])
            sizes = [f'{width} x {height}' for height, width in shapes]
            raise ValueError(
                f'the image {results["img_path"]} has {sizes[0]} pixels and its mask {path} has '
                f'{sizes[1]}; give both the same size (is one of them turned by its EXIF tag?)'
            )
        if self.threshold is not None:
            colours = pixels[..., :3].max(axis=2) if pixels.ndim == 3 else pixels
            mask = colours > self.threshold
        else:
            try:
                mask = mask_of(pixels, lossy=lossy)
            except ValueError as error:
                raise ValueError(f'the mask {path} is not of two values: {error}; {FIX}') from error
        results['gt_seg_map'] = mask.astype(np.uint8)
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results
