"""Scores over several data sets at once, and their means, each by its name."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from gps_seg.bench.across import mean_of
from gps_seg.bench.report import numbers
from gps_seg.bench.report.results import TEST, SuiteResults
from gps_seg.bench.report.summary import Group, Row, Spread
from gps_seg.bench.report.tables import Entry, Table

RowsByData = Mapping[str, Row]


def means_tables(suite: SuiteResults, groups: Sequence[Group]) -> list[Table]:
    """A table for each model: the score on every data set, then the means that the suite names.

    A mean is there only for a method that has all its seeds on all its data sets; it is taken in
    each seed, so that its deviation is one over seeds. The first mean orders the rows.
    """
    if not suite.means:
        return []
    models = dict.fromkeys(group.model for group in groups)
    return [_table(suite, [group for group in groups if group.model == model]) for model in models]


def _table(suite: SuiteResults, groups: Sequence[Group]) -> Table:
    data = [group.data for group in groups]
    methods = by_method(groups)
    spreads = {
        method: [*(_of(suite, rows, name) for name in (*data, *suite.means))]
        for method, rows in methods.items()
    }
    best = [_highest(column) for column in zip(*spreads.values(), strict=True)]
    first_mean = len(data)
    ordered = sorted(methods, key=lambda method: _order(spreads[method][first_mean]))
    rows = tuple(
        (
            Entry(next(iter(methods[method].values())).label),
            *(
                _entry(spread, is_best=index >= first_mean and _is(spread, best[index]))
                for index, spread in enumerate(spreads[method])
            ),
            *_share(methods[method]),
        )
        for method in ordered
    )
    header = ('method', *data, *(f'{name}, %' for name in suite.means), 'trained %')
    return Table(f'{suite.metric} over the data sets, {groups[0].model}', header, rows)


def by_method(groups: Sequence[Group]) -> dict[str, dict[str, Row]]:
    """The rows of each method by data set, methods in the order of the suite."""
    rows: dict[str, dict[str, Row]] = {}
    for column in groups[0].suite.columns if groups else ():
        for group in groups:
            if (group.data, group.model) == (column.data, column.model):
                row = next(row for row in group.rows if row.method == column.method)
                rows.setdefault(column.method, {})[column.data] = row
    return rows


def spread_of(
    suite: SuiteResults,
    rows: RowsByData,
    name: str,
    score: Callable[[Row, int], float | None],
) -> Spread | None:
    """A score on a data set, or a mean of it, over the seeds; None where a run is missing.

    score: of the run of a row with a seed.
    """
    values = []
    for seed in suite.seeds:
        scores = {data: score(row, seed) for data, row in rows.items()}
        there = {data: value for data, value in scores.items() if value is not None}
        values.append(mean_of(suite.means, name, there))
    present = [value for value in values if value is not None]
    if name in suite.means:
        return Spread(tuple(present)) if len(present) == len(values) else None
    return Spread(tuple(present)) if present else None


def seed_score(row: Row, seed: int, *, metric: str, split: str = TEST) -> float | None:
    """The score of one run."""
    cells = [cell for cell in row.finals if cell.seed == seed]
    return cells[0].score(split, metric) if cells else None


def _of(suite: SuiteResults, rows: RowsByData, name: str) -> Spread | None:
    return spread_of(suite, rows, name, partial(seed_score, metric=suite.metric))


def _share(rows: RowsByData) -> tuple[Entry]:
    shares = [row.share for row in rows.values() if row.share is not None]
    mean = sum(shares) / len(shares) if len(shares) == len(rows) and shares else None
    return (Entry(numbers.percent(mean), mean),)


def _entry(spread: Spread | None, *, is_best: bool) -> Entry:
    return Entry(numbers.spread(spread), spread.mean if spread else None, is_best)


def _order(spread: Spread | None) -> float:
    return -spread.mean if spread else float('inf')


def _highest(column: Sequence[Spread | None]) -> float | None:
    means = [spread.mean for spread in column if spread is not None]
    return max(means) if means else None


def _is(spread: Spread | None, best: float | None) -> bool:
    return spread is not None and best is not None and spread.mean == best
