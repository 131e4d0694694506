"""What `gps-seg bench run` left in a folder: the suite and its cells, read strictly."""

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

SUITE = 'suite.json'
CELL = 'cell.json'
RESULT = 'result.json'
IMAGES = 'images.csv'
# Its columns that hold the names of classes.
WORDS = ('class', 'predicted')
SHEET = 'run/overlays/sheet.png'

# Names become file names, markers in Markdown and anchors of the page.
_NAME = re.compile(r'[A-Za-z0-9][\w.-]*')
_NEEDED = ('name', 'columns', 'current')
_CELL_KEYS = ('data', 'model', 'method', 'role', 'seed')

ImageScores = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class CellFolder:
    """One training as its folder tells it.

    content: of result.json if the training has finished, else of cell.json. failures: the error of
    each attempt that crashed. images: by metric and image, the score in percent.
    """

    folder: Path
    content: Mapping[str, Any]
    is_finished: bool
    failures: tuple[str, ...]
    images: ImageScores


@dataclass(frozen=True)
class SuiteFolder:
    """A suite as its folder tells it. settings: the content of suite.json."""

    folder: Path
    settings: Mapping[str, Any]
    cells: tuple[CellFolder, ...]


def read_suite_folder(folder: str | Path) -> SuiteFolder:
    """Read the folder of a suite, finished or still running.

    A folder of a cell in which nothing was written yet is left out.

    Raises FileNotFoundError if there is no suite, ValueError if a file of it is damaged or does not
    hold what it must.
    """
    folder = Path(folder)
    if not (folder / SUITE).is_file():
        raise FileNotFoundError(
            f'no {SUITE} in {folder}; give the folder that gps-seg bench run has written, or the '
            'name of a suite that was run from here (then work_dirs/bench/NAME is meant)'
        )
    settings = _read_json(folder / SUITE, _NEEDED)
    name = settings['name']
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f'{folder / SUITE}: the name {name!r} cannot name files; use letters, digits, dots, '
            'hyphens and underscores'
        )
    cells = [_read_cell(path) for path in sorted(folder.glob('cells/*')) if path.is_dir()]
    return SuiteFolder(folder, settings, tuple(cell for cell in cells if cell is not None))


def _read_cell(folder: Path) -> CellFolder | None:
    is_finished = (folder / RESULT).is_file()
    file = folder / (RESULT if is_finished else CELL)
    if not file.is_file():
        return None
    content = _read_json(file, _CELL_KEYS)
    if content.setdefault('id', folder.name) != folder.name:
        raise ValueError(
            f'{file} is of the cell {content["id"]}: the folder was renamed or copied; give it its '
            'old name or remove it'
        )
    if is_finished and not (content.keys() & {'scores', 'rows'}):
        raise ValueError(
            f'{file} holds neither scores nor rows; remove the folder and run it again'
        )
    failures = sorted(folder.glob('failure-*.json'), key=lambda path: (len(path.name), path.name))
    errors = tuple(str(_read_json(path, ('error',))['error']) for path in failures)
    images = _read_images(folder / IMAGES) if is_finished and (folder / IMAGES).is_file() else {}
    return CellFolder(folder, content, is_finished, errors, images)


def _read_json(path: Path, needed: Iterable[str]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(
            f'{path} is damaged ({error}); remove it and run the suite again'
        ) from error
    missing = [key for key in needed if not isinstance(content, dict) or key not in content]
    if missing:
        raise ValueError(f'{path} lacks {", ".join(missing)}; remove it and run the suite again')
    return dict(content)


def _read_images(path: Path) -> ImageScores:
    with path.open(newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    metrics = [key for key in rows[0] if key not in ('image', *WORDS)] if rows else []
    try:
        names = short_paths([row['image'] for row in rows])
        return {
            # Empty of a class that an image does not have.
            metric: {
                name: float(row[metric])
                for name, row in zip(names, rows, strict=True)
                if row[metric] != ''
            }
            for metric in metrics
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{path} is damaged ({error!r}); remove its folder and run it again'
        ) from error


def short_paths(paths: list[str]) -> list[str]:
    """The paths without the folder that all of them lie in, which differs between machines.

    Raises ValueError if one of them occurs twice.

    >>> short_paths(['/data/images/a.jpg', '/data/images/b.jpg'])
    ['a.jpg', 'b.jpg']
    """
    if len(set(paths)) != len(paths):
        raise ValueError('an image is listed twice')
    parts = [PurePosixPath(path.replace('\\', '/')).parts for path in paths]
    shared = 0
    most = min((len(part) for part in parts), default=1) - 1
    while shared < most and len({part[shared] for part in parts}) == 1:
        shared += 1
    return ['/'.join(part[shared:]) for part in parts]
