"""GIF, WebP, BMP, palettes, CMYK and whatever else Pillow reads."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from gps_seg.datasets.decoding.notes import noting_python
from gps_seg.datasets.decoding.pages import choose_page
from gps_seg.datasets.decoding.picture import Picture, turned
from gps_seg.datasets.decoding.signatures import why_unreadable

ORIENTATION = 0x0112
# Colour spaces of other axes than red, green and blue.
_CONVERTED = {'CMYK': 'RGB', 'YCbCr': 'RGB', 'HSV': 'RGB', 'LAB': 'RGB', 'PA': 'RGBA'}


def orientation_of(content: bytes) -> int:
    """The EXIF orientation of a file, 1 to 8; 1 where there is none that can be read."""
    # Most files have no EXIF block; a look into the bytes is much faster than opening them.
    if b'Exif' not in content and b'eXIf' not in content:
        return 1
    try:
        with noting_python([]), Image.open(BytesIO(content)) as image:
            return int(image.getexif().get(ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return 1


def decode_pillow(content: bytes, path: str | Path, page: int | None = None) -> Picture:
    """Decode a file with Pillow. Raises ValueError, naming the file, where it cannot."""
    notes: list[str] = []
    try:
        with noting_python(notes), Image.open(BytesIO(content)) as image:
            image.seek(choose_page(getattr(image, 'n_frames', 1), page, path))
            image.load()
            turn = int(image.getexif().get(ORIENTATION, 1))
            pixels, palette = _pixels(image)
    except (UnidentifiedImageError, SyntaxError) as error:
        raise ValueError(f'{path} {why_unreadable(content)}') from error
    except Image.DecompressionBombError as error:
        raise ValueError(f'{path} is too large: {error}; cut it into tiles') from error
    except (OSError, EOFError) as error:
        raise ValueError(f'{path} is damaged: {error}; fetch or convert it again') from error
    picture = Picture(pixels, palette=palette, lossy=is_lossy(content), notes=tuple(notes))
    return turned(picture, turn)


def count_frames(path: str | Path) -> int:
    """The number of frames of a file that Pillow reads; 1 where it cannot, as decoding will say."""
    try:
        with noting_python([]), Image.open(path) as image:
            return int(getattr(image, 'n_frames', 1))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return 1


def _pixels(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    if image.mode == 'P':
        colours = np.array(image.getpalette('RGB'), np.uint8).reshape(-1, 3)
        # A file may use more indices than its palette has: black, as viewers show them.
        full = np.zeros((256, 3), np.uint8)
        full[: len(colours)] = colours
        return np.asarray(image), full
    return np.asarray(image.convert(_CONVERTED.get(image.mode, image.mode))), None


def is_lossy(content: bytes) -> bool:
    """Whether a file's compression changes values, as JPEG and lossy WebP do."""
    if content.startswith(b'RIFF'):
        return b'VP8L' not in content
    return content.startswith((b'\xff\xd8', b'\0\0\0\x0cjP  ', b'\xff\x0a')) or (
        content[4:12] == b'ftypavif'
    )
