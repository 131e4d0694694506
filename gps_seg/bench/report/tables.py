"""The tables of a report, before they are Markdown, CSV, LaTeX or HTML."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from gps_seg.bench.report import numbers
from gps_seg.bench.report.results import TEST, VALIDATION, Cell, Column, SuiteResults
from gps_seg.bench.report.summary import Group, Row, first_line, trials_of
from gps_seg.bench.report.ties import Comparison

TIE = '≈'

Peak: TypeAlias = Callable[[Row], float | None]


@dataclass(frozen=True)
class Entry:
    """A cell of a table. value: what it sorts by, if it is a number."""

    text: str
    value: float | None = None
    is_bold: bool = False


@dataclass(frozen=True)
class Table:
    """A caption, headings, and rows of as many entries; the first column names the row."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]

    def is_number(self, column: int) -> bool:
        """Whether a column holds a number, and so stands at the right."""
        return any(row[column].value is not None for row in self.rows)


def main_table(group: Group) -> Table:
    """All that was measured, a row for each method, the best first."""
    suite, metric = group.suite, group.suite.metric
    further = [(split, split.removeprefix(f'{TEST}:')) for split in suite.further_tests]
    memory, peak = _memory(group.rows)
    header = (
        'method',
        'tuned',
        f'val {suite.validation}',
        *(f'{suite.tested} {name}' for name in suite.tests),
        *(f'{name} {metric}' for _, name in further),
        'vs best',
        *('trained', 'selected', 'trained %', 'seconds', memory, 'delta MB', 'seeds'),
    )
    rows = []
    for row in group.rows:
        tests = [_score(row, name, TEST, bold=row is group.best) for name in suite.tests[:1]]
        tests += [_score(row, name, TEST) for name in suite.tests[1:]]
        rows.append(
            (
                Entry(row.label, is_bold=row is group.best),
                Entry(' / '.join(numbers.settings(tuned) for tuned in row.tuned) or numbers.NONE),
                _score(row, suite.validation, VALIDATION),
                *tests,
                *(_score(row, metric, split) for split, _ in further),
                to_best(group, row),
                Entry(numbers.count(row.trained), row.trained),
                Entry(numbers.count(row.selected), row.selected),
                Entry(numbers.percent(row.share), row.share),
                Entry(numbers.seconds(row.seconds), row.seconds),
                Entry(numbers.mebibytes(peak(row)), peak(row)),
                Entry(numbers.megabytes(row.delta_bytes), row.delta_bytes),
                Entry(f'{len(row.finals)} of {row.num_seeds}', len(row.finals)),
            )
        )
    return Table(f'{group.data}, {group.model}', header, tuple(rows))


def short_table(group: Group) -> Table:
    """The table for a first look: score, standing, cost."""
    suite = group.suite
    memory, peak = _memory(group.rows)
    sides = [
        (role, method, against)
        for role, method, against in (
            ('reference', suite.reference, group.against_reference),
            ('control', suite.control, group.against_control),
        )
        if group.row(method) is not None
    ]
    header = (
        'method',
        f'{suite.tested} {suite.metric} %',
        'vs best',
        *(f'vs {_label(group, method)}' for _, method, _ in sides),
        *('trained %', 'time', memory, 'delta MB'),
    )
    rows = tuple(
        (
            Entry(row.label, is_bold=row is group.best),
            _score_and_seeds(group, row),
            to_best(group, row),
            *(_difference(against.get(row.method)) for _, _, against in sides),
            Entry(numbers.percent(row.share), row.share),
            Entry(numbers.duration(row.seconds), row.seconds),
            Entry(numbers.mebibytes(peak(row)), peak(row)),
            Entry(numbers.megabytes(row.delta_bytes), row.delta_bytes),
        )
        for row in group.rows
    )
    return Table(f'{group.data}, {group.model}', header, rows)


def _score_and_seeds(group: Group, row: Row) -> Entry:
    """The score that ranks, with how many seeds it is of where some are lacking."""
    entry = _score(row, group.suite.metric, TEST, bold=row is group.best)
    if row.is_complete or row.test is None:
        return entry
    return replace(entry, text=f'{entry.text} ({len(row.finals)} of {row.num_seeds} seeds)')


def to_best(group: Group, row: Row) -> Entry:
    """How far below the best a row is, and whether that is a tie."""
    if group.best is not None and row is group.best:
        return Entry('best', 0.0)
    return _difference(group.against_best.get(row.method))


def _difference(comparison: Comparison | None) -> Entry:
    if comparison is None:
        return Entry(numbers.NONE)
    mark = {'tie': f' {TIE}', 'difference': '', 'unsettled': ' ?'}[comparison.verdict]
    return Entry(f'{numbers.signed(comparison.difference)}{mark}', comparison.difference)


def _label(group: Group, method: str | None) -> str:
    row = group.row(method)
    return row.label if row else str(method)


def _score(row: Row, metric: str, split: str, *, bold: bool = False) -> Entry:
    spread = row.scores(metric, split)
    return Entry(numbers.spread(spread), spread.mean if spread else None, is_bold=bold)


def _memory(rows: Sequence[Row]) -> tuple[str, Peak]:
    """Heading and quantity: of the device if every row has it, else of the process."""
    filled = [row for row in rows if row.finals]
    if filled and all(row.device_bytes is not None for row in filled):
        return 'GPU peak MiB', lambda row: row.device_bytes
    return 'peak MiB', lambda row: row.process_bytes


def trials_table(suite: SuiteResults, columns: Iterable[Column]) -> Table:
    """Every trial, by method and value; the value that the final runs took is bold."""
    rows = []
    for column in columns:
        finals = [c for c in suite.current('final') if _place(c) == _place(column)]
        taken = [dict(cell.tuned) for cell in finals]
        for cell in sorted(trials_of(suite, column), key=_by_value):
            is_taken = dict(cell.tuned) in taken
            value = cell.score('validation', suite.validation)
            state = numbers.NONE if cell.state == 'finished' else cell.state
            rows.append(
                (
                    Entry(column.label),
                    Entry(numbers.settings(cell.tuned), is_bold=is_taken),
                    Entry(numbers.score(value) if value is not None else state, value, is_taken),
                    Entry('taken' if is_taken else ''),
                    Entry(str(cell.seed), cell.seed),
                )
            )
    header = ('method', 'tried', f'validation {suite.validation} %', '', 'seed')
    return Table('Every trial of a setting', header, tuple(rows))


def _place(cell: Cell | Column) -> tuple[str, str, str]:
    return cell.data, cell.model, cell.method


def _by_value(cell: Cell) -> tuple[bool, float, str]:
    value = next(iter(cell.tuned.values()), 0)
    is_number = isinstance(value, int | float)
    return not is_number, float(value) if is_number else 0.0, str(cell.tuned)


def stale_table(suite: SuiteResults) -> Table:
    """What is in the folder and no longer of the suite as it stands."""
    rows = tuple(
        (
            Entry(cell.label),
            Entry(cell.role),
            Entry(str(cell.seed), cell.seed),
            Entry(numbers.settings(cell.tuned)),
            Entry(numbers.score(cell.score(TEST, suite.metric)), cell.score(TEST, suite.metric)),
            Entry(cell.state),
            Entry(str(cell.hashes.get('code', numbers.NONE))),
            Entry(cell.id),
        )
        for cell in suite.stale
    )
    header = (
        'method',
        'role',
        'seed',
        'tuned',
        f'{suite.tested} {suite.metric}',
        'state',
        'code',
        'cell',
    )
    return Table('Stale: made by other code or settings, in no number above', header, rows)


def failures_table(suite: SuiteResults) -> Table:
    """Every attempt that crashed, also of cells that finished afterwards."""
    rows = tuple(
        (
            Entry(f'{cell.label}, {cell.role}, seed {cell.seed}'),
            Entry(str(attempt), attempt),
            Entry(first_line(error)),
            Entry('finished afterwards' if cell.state == 'finished' else 'not finished'),
        )
        for cell in suite.cells
        for attempt, error in enumerate(cell.failures, start=1)
    )
    return Table('Attempts that crashed', ('cell', 'attempt', 'error', 'since then'), rows)
