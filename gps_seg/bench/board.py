"""What of a suite is done, and what comes next."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from gps_seg.bench.cells import FINAL, TRIAL, Cell
from gps_seg.bench.claims import is_claimed
from gps_seg.bench.digests import code_digest
from gps_seg.bench.measurements import Measurement
from gps_seg.bench.search import Grid, Values, best, grown, points, tpe_points
from gps_seg.bench.suite import Column, Suite
from gps_seg.files import write_content

RESULT = 'result.json'
SUMMARY = 'suite.json'
CELLS, PLANS, ESTIMATES = 'cells', 'plans', 'estimates'
AnyCell = Cell | Measurement
# A cell that crashed is tried once more.
ATTEMPTS = 2


@dataclass
class Board:
    """A suite and the folder of its results, as they are now.

    attempts: how often a cell may crash before it counts as failed.
    whole: what the suite is a part of, if it is.
    """

    suite: Suite
    folder: Path
    attempts: int = ATTEMPTS
    whole: Suite | None = None
    _cells: dict[Any, Cell] = field(default_factory=dict)
    _larger: 'Board | None' = None

    def cell(self, column: Column, role: str, seed: int, tuned: Values = ()) -> Cell:
        """The cell of a column; made once, since reading its config takes time."""
        key = (column, role, seed, tuned)
        if key not in self._cells:
            self._cells[key] = Cell(self.suite, column, role, seed, tuned)
        return self._cells[key]

    def place(self, cell: AnyCell) -> Path:
        return self.folder / CELLS / cell.id

    def result(self, cell: AnyCell) -> dict[str, Any] | None:
        """The result of a finished cell."""
        path = self.place(cell) / RESULT
        return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None

    def failures(self, cell: AnyCell) -> list[str]:
        """Why the cell crashed, each time."""
        paths = sorted(self.place(cell).glob('failure-*.json'))
        return [json.loads(path.read_text(encoding='utf-8'))['error'] for path in paths]

    def is_open(self, cell: AnyCell) -> bool:
        """Whether the cell is still to be run by somebody."""
        return self.result(cell) is None and len(self.failures(cell)) < self.attempts

    def trials(self, column: Column) -> list[Cell]:
        """The trials of a column that its present scores ask for."""
        return self._trials[column]

    def tuned(self, column: Column) -> Values | None:
        """The values that won, once all trials are over; None before, or if all failed."""
        if not self.suite.tune:
            return ()
        trials = self.trials(column)
        if any(self.is_open(cell) for cell in trials) or not self._finished_tuning(column):
            return None
        scores = self._scores(column)
        return best(scores) if scores else None

    def finals(self, column: Column) -> list[Cell]:
        """The final runs of a column; none before it is tuned."""
        tuned = self.tuned(column)
        if tuned is None:
            return []
        return [self.cell(column, FINAL, seed, tuned) for seed in self.seeds(column)]

    def seeds(self, column: Column) -> list[int]:
        """The seeds of a column's final runs; more for the best of them by validation."""
        seeds = list(self.suite.seeds)
        if column in self._leaders:
            seeds += [seed for seed in self.suite.more_seeds if seed not in seeds]
        return seeds

    def needed(self) -> Sequence[AnyCell]:
        """All cells that the suite asks for by what is known, finished or not."""
        if self.suite.measure:
            return self._measurements
        return [
            cell
            for column in self.suite.columns
            for cell in (*self.trials(column), *self.finals(column))
        ]

    def todo(self) -> list[AnyCell]:
        """The cells that can be run now and that nobody works on."""
        return [c for c in self.needed() if self.is_open(c) and not is_claimed(self.place(c))]

    def stale(self) -> list[str]:
        """Names of finished cells of another config or code than the suite has now."""
        current = {cell.id for cell in self.needed()}
        paths = sorted((self.folder / CELLS).glob(f'*/{RESULT}'))
        return [path.parent.name for path in paths if path.parent.name not in current]

    def num_to_come(self) -> dict[Column, int]:
        """Final runs that will follow once their trials are over, by column."""
        return {
            column: len(self.suite.seeds)
            for column in self.suite.columns
            if self.tuned(column) is None and self._may_end(column)
        }

    def with_earlier(self) -> 'Board':
        """The board of all that calls with other parts of the suite have asked for here."""
        if self.whole is None or self.whole == self.suite:
            return self
        earlier = _columns_of(self.folder / SUMMARY, _settings(self.suite))
        columns = {*earlier, *self.suite.columns}
        present = {
            'data': {column.data for column in columns},
            'models': {column.model for column in columns},
            'methods': {column.method for column in columns},
        }
        names = {
            kind: [name for name in getattr(self.whole, kind) if name in there]
            for kind, there in present.items()
        }
        suite = self.whole.only(**names)
        if self._larger is None or self._larger.suite != suite:
            self._larger = Board(suite, self.folder, self.attempts)
        self._larger.refresh()
        return self._larger

    def refresh(self) -> None:
        """Look at the results again."""
        for kept in ('_trials', '_leaders'):
            self.__dict__.pop(kept, None)

    @cached_property
    def _measurements(self) -> list[Measurement]:
        return [Measurement(self.suite, case) for case in self.suite.measure['cases']]

    def _may_end(self, column: Column) -> bool:
        trials = self.trials(column)
        return any(self.is_open(cell) or self.result(cell) for cell in trials)

    def _finished_tuning(self, column: Column) -> bool:
        if self.suite.tuner == 'grid' and self.suite.extend == 'all':
            # What another method still needs may be asked of this one.
            group = [
                c for c in self.suite.columns if (c.data, c.model) == (column.data, column.model)
            ]
            return not any(self.is_open(cell) for c in group for cell in self.trials(c))
        return True

    def _scores(self, column: Column, tried: list[Values] | None = None) -> dict[Values, float]:
        """The validation score of each finished trial, with those of failed ones left out."""
        scores = {}
        candidates = tried if tried is not None else [cell.tuned for cell in self.trials(column)]
        for values in candidates:
            result = self.result(self._trial(column, values))
            if result is not None:
                scores[values] = result['scores']['validation'][self.suite.validation]
        return scores

    def _trial(self, column: Column, values: Values) -> Cell:
        return self.cell(column, TRIAL, self.suite.seeds[0], values)

    @cached_property
    def _leaders(self) -> set[Column]:
        """The best columns of each model by the validation score of their first final runs."""
        if not self.suite.more_seeds:
            return set()
        leaders: set[Column] = set()
        for group in self._groups:
            if any(self._waits(column) for column in group):
                continue
            scores = {column: self._validation(column) for column in group}
            finished = {column: score for column, score in scores.items() if score is not None}
            ranked = sorted(finished, key=lambda column: -finished[column])
            leaders.update(ranked[: self.suite.more_for])
        return leaders

    def _waits(self, column: Column) -> bool:
        """Whether a trial or one of the first final runs of a column is still to come."""
        first = self._first_finals(column)
        return any(map(self.is_open, first)) if first else self._may_end(column)

    def _validation(self, column: Column) -> float | None:
        """The mean score of the first final runs; None where all failed."""
        results = [result for cell in self._first_finals(column) if (result := self.result(cell))]
        if any('validation' not in result['scores'] for result in results):
            raise ValueError(
                f'the suite {self.suite.name} has more_seeds for the best by validation, but '
                f'{column} has no validation split; leave more_seeds out'
            )
        scores = [result['scores']['validation'][self.suite.validation] for result in results]
        return sum(scores) / len(scores) if scores else None

    def _first_finals(self, column: Column) -> list[Cell]:
        tuned = self.tuned(column)
        seeds = [] if tuned is None else self.suite.seeds
        return [self.cell(column, FINAL, seed, tuned or ()) for seed in seeds]

    @property
    def _groups(self) -> list[list[Column]]:
        """The columns of each model on each data set."""
        groups: dict[tuple[str, str], list[Column]] = {}
        for column in self.suite.columns:
            groups.setdefault((column.data, column.model), []).append(column)
        return list(groups.values())

    @cached_property
    def _trials(self) -> dict[Column, list[Cell]]:
        """By column. A grid may grow by the scores of the other methods of the same model."""
        made: dict[Column, list[Cell]] = {}
        for group in self._groups:
            for column, values in self._points(group).items():
                made[column] = [self._trial(column, point) for point in values]
        return made

    def _points(self, group: list[Column]) -> Mapping[Column, list[Values]]:
        suite = self.suite
        if not suite.tune:
            return {column: [] for column in group}
        if suite.tuner != 'grid':
            return {column: self._tpe(column) for column in group}
        if suite.extend == 'no':
            return {column: points(suite.tune) for column in group}
        # A failed trial ranks below all others, so that a grid that contains it can be finished.
        grids: dict[str, Grid] = {column.method: dict(suite.tune) for column in group}  # type: ignore[arg-type]
        while True:
            scores = {
                column.method: self._with_failed(column, points(grids[column.method]))
                for column in group
            }
            larger = grown(suite.tune, scores, together=suite.extend == 'all')
            if larger == grids:
                return {column: points(grids[column.method]) for column in group}
            grids = larger

    def _with_failed(self, column: Column, tried: list[Values]) -> dict[Values, float]:
        scores = self._scores(column, tried)
        for values in tried:
            cell = self._trial(column, values)
            if values not in scores and not self.is_open(cell):
                scores[values] = float('-inf')
        return scores

    def _tpe(self, column: Column) -> list[Values]:
        suite = self.suite
        assert isinstance(suite.tuner, int)
        scores: dict[Values, float] = {}
        while True:
            asked = tpe_points(suite.tune, scores, num_trials=suite.tuner, seed=int(suite.seeds[0]))
            known = self._with_failed(column, asked)
            if known == scores:
                return asked
            scores = known


def write_summary(board: Board) -> None:
    """Write suite.json, from which the report knows what the suite is and which cells are its.

    What earlier calls for other parts of the suite asked for stays in it.
    """
    board = board.with_earlier()
    suite = board.suite
    columns = [
        {
            'data': c.data,
            'model': c.model,
            'method': c.method,
            'label': suite.label(c),
            'seeds': board.seeds(c),
        }
        for c in suite.columns
    ]
    about = {
        'name': suite.name,
        'title': suite.title,
        'notes': list(suite.notes),
        'tests': list(suite.tests),
        **_settings(suite),
        'more_seeds': list(suite.more_seeds),
        'more_for': suite.more_for,
        'columns': columns,
        'reference': suite.reference,
        'control': suite.control,
        'published': list(suite.published),
        'means': {name: list(members) for name, members in suite.means.items()},
        'sweep': dict(suite.sweep),
        'code': code_digest(),
        'current': [cell.id for cell in board.needed()],
    }
    write_content(board.folder / SUMMARY, json.dumps(about, indent=2) + '\n')


def _columns_of(file: Path, settings: dict[str, Any]) -> list[Column]:
    """The columns of a summary of a suite with these settings; none of another or a damaged one."""
    try:
        about = json.loads(file.read_text(encoding='utf-8'))
    except (FileNotFoundError, ValueError):
        return []
    if not isinstance(about, dict) or not settings.items() <= about.items():
        return []
    return [Column(c['data'], c['model'], c['method']) for c in about['columns']]


def _settings(suite: Suite) -> dict[str, Any]:
    """What all cells of a suite have in common."""
    return {
        'validation': suite.validation,
        'checkpoint': suite.checkpoint,
        'epochs': suite.epochs,
        'tune_epochs': suite.tune_epochs,
        'tune': {key: list(values) for key, values in suite.tune.items()},
        'tuner': suite.tuner,
        'extend': suite.extend,
        'seeds': list(suite.seeds),
    }
