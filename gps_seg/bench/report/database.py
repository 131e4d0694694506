"""All results of a report in one SQLite file, from which its tables are made.

The schema is schema.sql. A query of one's own, the best trial of each method:

    sqlite3 results.sqlite "SELECT label, tuned, max(value)
        FROM cells JOIN scores USING (suite, cell)
        WHERE role = 'trial' AND split = 'validation' AND metric = 'mDice' GROUP BY label"
"""

import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from gps_seg.bench.report.results import Cell, Column, SuiteResults
from gps_seg.bench.report.suite_folder import CellFolder, SuiteFolder
from gps_seg.files import write_atomically

_SCHEMA = Path(__file__).with_name('schema.sql')
_NUMBERS = (
    *('epochs', 'trained', 'selected', 'total'),
    *('delta_bytes', 'peak_process_bytes', 'peak_device_bytes'),
)
_JSON = ('tuned', 'seconds', 'hashes', 'versions', 'machine', 'aggregation')


def write_database(path: str | Path, suites: Sequence[SuiteFolder]) -> None:
    """Write the suites into a new SQLite file, atomically.

    Raises ValueError if two suites have one name.
    """
    names = [suite.settings['name'] for suite in suites]
    for name in names:
        if names.count(name) > 1:
            folders = [str(s.folder) for s in suites if s.settings['name'] == name]
            raise ValueError(
                f'two suites are called {name}: {", ".join(folders)}; give one of them'
            )

    def write(temporary: Path) -> None:
        with closing(sqlite3.connect(temporary)) as connection, connection:
            # A journal beside the temporary file would be one more file to lose.
            connection.execute('PRAGMA journal_mode = MEMORY')
            connection.executescript(_SCHEMA.read_text(encoding='utf-8'))
            for suite in suites:
                _insert_suite(connection, suite)

    write_atomically(path, write)


def _insert_suite(connection: sqlite3.Connection, suite: SuiteFolder) -> None:
    settings = {key: value for key, value in suite.settings.items() if key != 'current'}
    name, current = settings['name'], set(suite.settings['current'])
    _insert(connection, 'suites', [(name, str(suite.folder.resolve()), json.dumps(settings))])
    labels = {
        tuple(column[key] for key in ('data', 'model', 'method')): column.get('label')
        for column in settings['columns']
    }
    for cell in suite.cells:
        key = tuple(cell.content[key] for key in ('data', 'model', 'method'))
        label = cell.content.get('label') or labels.get(key) or cell.content['method']
        _insert_cell(connection, name, cell, label, is_current=cell.content['id'] in current)


def _insert_cell(
    connection: sqlite3.Connection, suite: str, cell: CellFolder, label: str, *, is_current: bool
) -> None:
    content = cell.content
    key = (suite, content['id'])
    unfinished = 'failed' if cell.failures else 'unfinished'
    row = (
        *key,
        *(content[name] for name in ('data', 'model', 'method')),
        *(label, content['role'], content['seed']),
        *('finished' if cell.is_finished else unfinished, is_current),
        *(content.get(name) for name in _NUMBERS),
        str(cell.folder.resolve()),
        *(json.dumps(content.get(name) or {}) for name in _JSON),
        json.dumps(cell.failures),
    )
    _insert(connection, 'cells', [row])
    for table, values in (
        ('scores', _pairs(content.get('scores') or {})),
        ('costs', _pairs(content.get('rows') or {})),
    ):
        _insert(connection, table, [(*key, *value) for value in values])
    curves = (content.get('curves') or {}).items()
    points = [(*key, curve, x, value) for curve, line in curves for x, value in line]
    _insert(connection, 'curves', points)
    scores = _pairs(cell.images)
    _insert(connection, 'images', [(*key, image, name, value) for name, image, value in scores])


def _pairs(nested: Any) -> list[tuple[str, str, float]]:
    """(outer key, inner key, number) of the dicts in a dict; what is no number is left out."""
    return [
        (outer, inner, value)
        for outer, values in nested.items()
        if isinstance(values, Mapping)
        for inner, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        places = ', '.join('?' * len(rows[0]))
        connection.executemany(f'INSERT INTO {table} VALUES ({places})', rows)


def read_database(path: str | Path) -> list[SuiteResults]:
    """Read the suites back, in the order in which they were written."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute('SELECT * FROM suites ORDER BY rowid').fetchall()
        return [_read_suite(connection, row) for row in rows]


def _read_suite(connection: sqlite3.Connection, row: sqlite3.Row) -> SuiteResults:
    settings, name = json.loads(row['settings']), row['suite']
    scores = _nested(connection, 'SELECT cell, split, metric, value FROM scores', name)
    images = _nested(connection, 'SELECT cell, metric, image, value FROM images', name)
    costs = _nested(connection, 'SELECT cell, method, quantity, value FROM costs', name)
    curves: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(dict)
    query = 'SELECT cell, curve, x, value FROM curves WHERE suite = ? ORDER BY rowid'
    for cell, curve, x, value in connection.execute(query, (name,)):
        # SQLite keeps nan as NULL.
        curves[cell].setdefault(curve, []).append((x, math.nan if value is None else value))
    rows = connection.execute('SELECT * FROM cells WHERE suite = ? ORDER BY rowid', (name,))
    cells = tuple(
        _cell(
            cell,
            scores=scores.get(cell['cell'], {}),
            images=images.get(cell['cell'], {}),
            costs=costs.get(cell['cell'], {}),
            curves=curves.get(cell['cell'], {}),
        )
        for cell in rows
    )
    return _suite(settings, cells)


def _suite(settings: dict[str, Any], cells: tuple[Cell, ...]) -> SuiteResults:
    columns = tuple(
        Column(
            column['data'],
            column['model'],
            column['method'],
            _label(column),
            tuple(column.get('seeds') or ()),
        )
        for column in settings['columns']
    )
    validation = settings.get('validation') or 'mDice'
    return SuiteResults(
        name=settings['name'],
        title=settings.get('title') or settings['name'],
        validation=validation,
        tests=tuple(settings.get('tests') or (validation,)),
        checkpoint=settings.get('checkpoint') or 'best',
        epochs=settings.get('epochs'),
        tune_epochs=settings.get('tune_epochs'),
        seeds=tuple(settings.get('seeds') or (0,)),
        more_seeds=tuple(settings.get('more_seeds') or ()),
        more_for=settings.get('more_for') or 0,
        columns=columns,
        reference=settings.get('reference'),
        control=settings.get('control'),
        published=tuple(settings.get('published') or ()),
        notes=tuple(settings.get('notes') or ()),
        code=settings.get('code') or '',
        commit=settings.get('commit') or '',
        cells=cells,
        means=settings.get('means') or {},
        sweep=settings.get('sweep') or {},
    )


def _label(column: dict[str, Any]) -> str:
    return str(column.get('label') or column['method'])


def _cell(row: sqlite3.Row, **nested: Any) -> Cell:
    plain = {key: row[key] for key in row.keys() if key not in ('suite', 'cell')}  # noqa: SIM118
    plain |= {key: json.loads(row[key]) for key in (*_JSON, 'failures')}
    return Cell(id=row['cell'], **{**plain, 'is_current': bool(row['is_current'])}, **nested)


def _nested(
    connection: sqlite3.Connection, query: str, suite: str
) -> dict[str, dict[str, dict[str, float]]]:
    """Rows of (cell, outer, inner, value) as nested dicts."""
    nested: dict[str, dict[str, dict[str, float]]] = {}
    query = f'{query} WHERE suite = ? AND value IS NOT NULL ORDER BY rowid'
    rows: Iterable[Any] = connection.execute(query, (suite,))
    for cell, outer, inner, value in rows:
        nested.setdefault(cell, {}).setdefault(outer, {})[inner] = value
    return nested
