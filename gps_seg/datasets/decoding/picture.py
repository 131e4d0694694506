"""What a decoder gives, and how it becomes an image for a model."""

from dataclasses import dataclass, field, replace

import numpy as np

# An EXIF or TIFF orientation as (transpose, flip rows, flip columns), in this order.
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclass(frozen=True)
class Picture:
    """A decoded file, before anything is scaled or dropped.

    pixels: (H, W) or (H, W, C) with red first, values as stored. bits: of a value below 8 bits.
    palette: (N, 3) uint8 where the pixels are indices into it. lossy: whether values are blurred by
    the compression. notes: what the decoder warned of.
    """

    pixels: np.ndarray
    bits: int = 8
    palette: np.ndarray | None = None
    lossy: bool = False
    notes: tuple[str, ...] = field(default=())


def turned(picture: Picture, orientation: int) -> Picture:
    """The picture as its orientation tag (1 to 8) says that it is shown; others change nothing."""
    if orientation not in _TURNS:
        return picture
    transpose, flip_rows, flip_columns = _TURNS[orientation]
    pixels = picture.pixels
    pixels = np.swapaxes(pixels, 0, 1) if transpose else pixels
    pixels = pixels[::-1] if flip_rows else pixels
    pixels = pixels[:, ::-1] if flip_columns else pixels
    return replace(picture, pixels=np.ascontiguousarray(pixels))


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


def as_image(picture: Picture) -> np.ndarray:
    """The picture as (H, W, 3) uint8, blue first.

    A palette gives its colours, grey three equal channels; alpha is dropped; values below 8 bits
    are spread over 0..255, deeper ones by their own range. Raises ValueError for other numbers of
    channels and for values that are not finite.
    """
    pixels = picture.pixels
    if picture.palette is not None:
        pixels = picture.palette[pixels]
    elif pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    elif picture.bits < 8:
        pixels = pixels * np.uint8(255 // (2**picture.bits - 1))
    if pixels.ndim == 2:
        return np.repeat(to_uint8(pixels)[..., None], 3, axis=2)
    channels = pixels.shape[2]
    if channels in (1, 2):
        return np.repeat(to_uint8(pixels[..., :1]), 3, axis=2)
    if channels in (3, 4):
        return np.ascontiguousarray(to_uint8(pixels[..., 2::-1]))
    raise ValueError(f'it has {channels} channels; choose three and save them as an RGB image')
