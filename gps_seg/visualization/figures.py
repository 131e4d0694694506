"""What all figures share: how they are written."""

from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from gps_seg.files import write_atomically, write_content


def save_figure(figure: Figure, path: str | Path, *, dpi: int = 200) -> None:
    """Write a figure, atomically, in the format of the suffix (`.png`, `.pdf`, `.svg`, ...)."""
    suffix = Path(path).suffix.lstrip('.').lower()
    known = figure.canvas.get_supported_filetypes()
    if suffix not in known:
        raise ValueError(f'{path} is no picture file; end it with one of: {", ".join(known)}')
    write_atomically(path, lambda temporary: figure.savefig(temporary, format=suffix, dpi=dpi))


def save_image(image: np.ndarray, path: str | Path) -> None:
    """Write an image as PNG, atomically. image: (H, W, 3) RGB or (H, W), uint8."""
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    write_content(path, cv2.imencode('.png', image)[1].tobytes())
