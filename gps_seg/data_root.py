"""The one place that knows where data sets and weights lie."""

import os
from pathlib import Path

VARIABLE = 'GPS_SEG_DATA'


def data_root() -> Path:
    """The folder of data sets and weights: `$GPS_SEG_DATA`, or `data/` where it is not set."""
    return Path(os.environ.get(VARIABLE) or 'data')


def data_path(path: str | Path) -> Path:
    """Resolve a path of a config against the data root; an absolute path stays as it is."""
    return data_root() / path
