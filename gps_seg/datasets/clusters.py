"""Masks of two values, however noisy, as background and foreground."""

import cv2
import numpy as np

# Channels of a grey mask differ by no more than this after a JPEG's colour conversion.
GREY_TOLERANCE = 8


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
    present = distinct(codes)
    if len(present) > 2:
        raise ValueError(f'it has more than two clusters of colours ({len(present)})')
    if len(present) == 2 and present[0] != 0:
        raise ValueError('it has two colours of which none is black, the background')
    return codes > 0


def mask_of(pixels: np.ndarray, *, lossy: bool) -> np.ndarray:
    """Background and foreground, (H, W) bool, of decoded pixels with one to four channels."""
    if is_grey(pixels, lossy=lossy):
        return grey_mask(grey_of(pixels), lossy=lossy)
    return colour_mask(pixels[..., :3], lossy=lossy)


def is_grey(pixels: np.ndarray, *, lossy: bool) -> bool:
    """Whether pixels with one to four channels say one number each; see `grey_of`."""
    if pixels.ndim == 2 or pixels.shape[2] < 3 or _in_alpha(pixels):
        return True
    first = np.ascontiguousarray(pixels[..., 0])
    others = (np.ascontiguousarray(pixels[..., channel]) for channel in (1, 2))
    unequal = max(float(cv2.absdiff(first, other).max()) for other in others)
    return unequal <= (GREY_TOLERANCE if lossy else 0)


def grey_of(pixels: np.ndarray) -> np.ndarray:
    """The one number of each pixel, (H, W).

    That of the alpha channel where the mask lies there alone; otherwise alpha is ignored.
    """
    if pixels.ndim == 2:
        return pixels
    if _in_alpha(pixels):
        return np.ascontiguousarray(pixels[..., -1])
    return np.ascontiguousarray(pixels[..., 1 if pixels.shape[2] > 2 else 0])


def _in_alpha(pixels: np.ndarray) -> bool:
    """Whether the colours are one value, so that only the alpha channel can say something."""
    if pixels.shape[2] not in (2, 4):
        return False
    colours = pixels[..., :-1]
    return bool((colours == colours[0, 0]).all())
