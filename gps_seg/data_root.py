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


def existing_path(path: str | Path) -> Path:
    """Find a file that a user wrote: relative to the working directory, else to the data root.

    Raises FileNotFoundError that names the places that were looked in.
    """
    places = list(dict.fromkeys((Path(path), data_path(path))))
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f'no file {" or ".join(map(str, places))}')
