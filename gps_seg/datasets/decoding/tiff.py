"""TIFF of any depth and layout through tifffile.

OpenCV reads a colour TIFF that is tagged BlackIsZero as its first channel alone, and Pillow does
not open it at all.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from gps_seg.datasets.decoding.notes import noting_python
from gps_seg.datasets.decoding.pages import choose_page
from gps_seg.datasets.decoding.picture import Picture, turned
from gps_seg.datasets.decoding.pillow import ORIENTATION, decode_pillow

COLOURS = tifffile.PHOTOMETRIC
ALPHA = (1, 2)  # of EXTRASAMPLES: associated and unassociated
_READ = (COLOURS.MINISBLACK, COLOURS.MINISWHITE, COLOURS.RGB, COLOURS.PALETTE, COLOURS.MASK)
_JPEG = (6, 7, 33003, 33004, 33005, 33007, 34712, 34892)  # JPEG and JPEG 2000


def decode_tiff(content: bytes, path: str | Path, page: int | None = None) -> Picture:
    """Decode a TIFF. Raises ValueError, naming the file, where it is damaged or of a rare kind."""
    notes: list[str] = []
    try:
        with noting_python(notes, 'tifffile'), tifffile.TiffFile(BytesIO(content)) as file:
            picture = _decode(file, path, page, notes)
    except _Rare:
        return decode_pillow(content, path, page)
    except _Unusable:
        raise
    except Exception as error:  # tifffile and its codecs raise whatever comes
        said = ' '.join(str(error).split())
        raise ValueError(
            f'{path} is damaged, or a TIFF of an unknown kind ({said}); fetch or convert it again'
        ) from error
    return picture


class _Rare(Exception):
    """A colour space that libtiff converts, through Pillow."""


class _Unusable(ValueError):
    """A file that is read well, but cannot be used."""


def count_tiff_pages(path: str | Path) -> int:
    """The number of pages of a TIFF file; previews and pyramid levels do not count."""
    with noting_python([], 'tifffile'), tifffile.TiffFile(path) as file:
        return sum(_num_planes(series) for series in _full_series(file))


def _full_series(file: tifffile.TiffFile) -> list[Any]:
    series = list(file.series)
    full = [item for item in series if not item.keyframe.is_reduced and 'Y' in item.axes]
    return full or series[:1]


def _num_planes(series: Any) -> int:
    return int(
        np.prod([n for n, axis in zip(series.shape, series.axes, strict=True) if axis not in 'YXS'])
    )


def _decode(
    file: tifffile.TiffFile, path: str | Path, page: int | None, notes: list[str]
) -> Picture:
    series = _full_series(file)
    try:
        chosen = choose_page(sum(map(_num_planes, series)), page, path)
    except ValueError as error:
        raise _Unusable(str(error)) from error
    for item in series:
        if chosen < _num_planes(item):
            break
        chosen -= _num_planes(item)
    key = item.keyframe
    if key.photometric not in _READ and not _is_converted(key):
        raise _Rare
    pixels, palette = _colours(_plane(item, chosen), key, path, notes)
    picture = Picture(
        pixels,
        bits=min(8, int(key.bitspersample)),
        palette=palette,
        lossy=int(key.compression) in _JPEG,
        notes=tuple(notes),
    )
    tag = key.tags.get(ORIENTATION)
    return turned(picture, int(tag.value) if tag is not None else 1)


def _is_converted(key: Any) -> bool:
    """Whether the codec gives red, green and blue of a YCbCr file, as that of JPEG does."""
    return key.photometric == COLOURS.YCBCR and int(key.compression) in _JPEG


def _plane(series: Any, index: int) -> np.ndarray:
    """One page, (H, W) or (H, W, S), with its samples last."""
    if len(series.pages) == _num_planes(series) > 1:
        page = series.pages[index]
        axes, pixels = series.keyframe.axes, page.asarray()
        index = 0
    else:
        axes, pixels = series.axes, series.asarray()
    others = [axis for axis in axes if axis not in 'YXS']
    order = [axes.index(axis) for axis in (*others, *(a for a in 'YXS' if a in axes))]
    pixels = pixels.transpose(order)
    return pixels.reshape(-1, *pixels.shape[len(others) :])[index]


def _colours(
    pixels: np.ndarray, key: Any, path: str | Path, notes: list[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Grey or red, green and blue of a page, without alpha; and its palette if it has one."""
    if key.photometric == COLOURS.PALETTE:
        table = np.asarray(key.colormap).T
        palette = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
        return pixels.astype(np.intp), palette
    if pixels.ndim == 3:
        alpha = sum(kind in ALPHA for kind in key.extrasamples)
        samples = pixels.shape[2] - alpha
        if samples == 4:
            notes.append('four samples without alpha: the first three are read as colours')
        elif samples not in (1, 3):
            raise _Unusable(
                f'{path} has {pixels.shape[2]} channels; choose three and save them as an RGB image'
            )
        # The alpha of a mask may be all that it says; as_image drops it.
        kept = pixels.shape[2] if samples in (1, 3) and alpha == 1 else min(samples, 3)
        pixels = pixels[..., :kept] if kept > 1 else pixels[..., 0]
    if key.photometric == COLOURS.MINISWHITE:
        pixels = _inverted(pixels, int(key.bitspersample))
    return pixels, None


def _inverted(pixels: np.ndarray, bits: int) -> np.ndarray:
    if pixels.dtype == bool:
        return ~pixels
    if pixels.dtype.kind == 'f':
        return -pixels
    return (pixels.dtype.type(2**bits - 1) - pixels).astype(pixels.dtype)
