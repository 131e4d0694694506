"""What all figures share: how they are written."""

from pathlib import Path

from matplotlib.figure import Figure

from gps_seg.files import write_atomically


def save_figure(figure: Figure, path: str | Path, *, dpi: int = 200) -> None:
    """Write a figure, atomically, in the format of the suffix (`.png`, `.pdf`, `.svg`, ...)."""
    suffix = Path(path).suffix.lstrip('.').lower()
    known = figure.canvas.get_supported_filetypes()
    if suffix not in known:
        raise ValueError(f'{path} is no picture file; end it with one of: {", ".join(known)}')
    write_atomically(path, lambda temporary: figure.savefig(temporary, format=suffix, dpi=dpi))
