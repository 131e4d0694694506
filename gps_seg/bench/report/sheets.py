"""Overlay sheets small enough to stand inside a page."""

import base64
from pathlib import Path

import cv2
import numpy as np

from gps_seg.bench.report.results import Cell
from gps_seg.bench.report.suite_folder import SHEET

MOST_BYTES = 250_000
_WIDTHS = (1000, 800, 640, 480)
_QUALITIES = (82, 70, 55)


def sheet_of(cell: Cell) -> str | None:
    """The sheet of a finished cell as a data address, or None if it has none.

    Raises ValueError if the file is no picture.
    """
    path = Path(cell.folder) / SHEET
    return data_address(path) if path.is_file() else None


def pictures_of(cell: Cell) -> list[Path]:
    """The pictures that a measurement has left in its folder."""
    return sorted(Path(cell.folder).glob('*.png'))


def data_address(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """A picture as `data:image/jpeg;base64,...`, at most `most_bytes` before the base64.

    It is made as narrow and as coarse as that needs. Raises ValueError if it is no picture, or does
    not fit at the smallest width.
    """
    content = np.frombuffer(path.read_bytes(), np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    if picture is None:
        raise ValueError(f'{path} is no picture; remove it, or run its cell again')
    for width in _WIDTHS:
        small = _narrowed(picture, width)
        for quality in _QUALITIES:
            coded = cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
            if len(coded) <= most_bytes:
                return f'data:image/jpeg;base64,{base64.b64encode(coded).decode()}'
    raise ValueError(f'{path} does not fit into {most_bytes:,} bytes; draw fewer images on it')


def _narrowed(picture: np.ndarray, width: int) -> np.ndarray:
    if picture.shape[1] <= width:
        return picture
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
