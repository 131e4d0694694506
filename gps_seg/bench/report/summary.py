"""What a suite found: a row for each method, who wins, and who ties with whom."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import mean, stdev

from gps_seg.bench.report.results import FINAL, TEST, VALIDATION, Cell, Column, SuiteResults
from gps_seg.bench.report.ties import Comparison, Runs, compare


@dataclass(frozen=True)
class Spread:
    """A quantity over seeds. values: one a seed, at least one."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation; None for a single seed."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Row:
    """A method on a model on a data set, over its seeds.

    finals: finished, by seed. missing: what is lacking, one text a seed.
    """

    column: Column
    suite: SuiteResults = field(repr=False)
    finals: tuple[Cell, ...]
    missing: tuple[str, ...]

    @property
    def label(self) -> str:
        return self.column.label

    @property
    def method(self) -> str:
        return self.column.method

    @property
    def num_seeds(self) -> int:
        """How many it is to have."""
        return len(self.column.seeds or self.suite.seeds)

    @property
    def is_complete(self) -> bool:
        return bool(self.finals) and not self.missing

    def spread(self, quantity: Callable[[Cell], float | None]) -> Spread | None:
        """A quantity of the finished cells; None if a finished cell or every cell lacks it."""
        values = [quantity(cell) for cell in self.finals]
        there = tuple(value for value in values if value is not None)
        return Spread(there) if there and len(there) == len(values) else None

    def scores(self, metric: str, split: str = TEST) -> Spread | None:
        return self.spread(lambda cell: cell.score(split, metric))

    @property
    def validation(self) -> Spread | None:
        return self.scores(self.suite.validation, VALIDATION)

    @cached_property
    def test(self) -> Spread | None:
        """The test scores that rank."""
        return self.scores(self.suite.metric)

    @property
    def trained(self) -> float | None:
        return _mean(self.spread(lambda cell: cell.trained))

    @property
    def selected(self) -> float | None:
        return _mean(self.spread(lambda cell: cell.selected))

    @property
    def share(self) -> float | None:
        """Trained entries in percent of all."""
        return _mean(
            self.spread(lambda c: 100 * c.trained / c.total if c.trained and c.total else None)
        )

    @property
    def seconds(self) -> float | None:
        return _mean(self.spread(lambda cell: cell.seconds.get('whole')))

    @property
    def device_bytes(self) -> float | None:
        return _mean(self.spread(lambda cell: cell.peak_device_bytes))

    @property
    def process_bytes(self) -> float | None:
        return _mean(self.spread(lambda cell: cell.peak_process_bytes))

    @property
    def delta_bytes(self) -> float | None:
        return _mean(self.spread(lambda cell: cell.delta_bytes))

    @property
    def tuned(self) -> list[dict[str, object]]:
        """The distinct tuned settings of the finals: one, unless seeds differ."""
        distinct: list[dict[str, object]] = []
        for cell in self.finals:
            if dict(cell.tuned) not in distinct:
                distinct.append(dict(cell.tuned))
        return distinct

    @cached_property
    def runs(self) -> Runs:
        metric = self.suite.metric
        scores = {cell.seed: cell.score(TEST, metric) for cell in self.finals}
        return Runs(
            scores={seed: score for seed, score in scores.items() if score is not None},
            images={cell.seed: images_of(cell, metric) for cell in self.finals},
        )


def images_of(cell: Cell, metric: str) -> dict[str, float]:
    """Scores of single images whose mean a metric is: `Dice` for `mDice`, else of its own name."""
    return dict(cell.images.get(metric) or cell.images.get(metric.removeprefix('m')) or {})


@dataclass(frozen=True)
class Group:
    """The methods on one model and data set, best first; those without a score at the end."""

    data: str
    model: str
    suite: SuiteResults = field(repr=False)
    rows: tuple[Row, ...]

    @property
    def scored(self) -> list[Row]:
        return [row for row in self.rows if row.test is not None]

    @cached_property
    def best(self) -> Row | None:
        """The highest mean of the methods that have all their seeds."""
        return next((row for row in self.scored if row.is_complete), None)

    def row(self, method: str | None) -> Row | None:
        """The row of a method, if it has a score."""
        return next((row for row in self.scored if row.method == method), None)

    @cached_property
    def against_best(self) -> dict[str, Comparison]:
        return self._against(self.best)

    @cached_property
    def against_reference(self) -> dict[str, Comparison]:
        return self._against(self.row(self.suite.reference))

    @cached_property
    def against_control(self) -> dict[str, Comparison]:
        return self._against(self.row(self.suite.control))

    def _against(self, other: Row | None) -> dict[str, Comparison]:
        """By method, its comparison with another row; not of that row itself."""
        if other is None:
            return {}
        pairs = (
            (row.method, compare(row.runs, other.runs)) for row in self.scored if row is not other
        )
        return {method: comparison for method, comparison in pairs if comparison is not None}

    @property
    def tied_with_best(self) -> list[Row]:
        """Methods with all their seeds that tie with the best."""
        verdicts = {method: c.verdict for method, c in self.against_best.items()}
        return [row for row in self.scored if row.is_complete and verdicts.get(row.method) == 'tie']


def summarise(suite: SuiteResults) -> list[Group]:
    """The groups of a suite, in the order of its columns.

    Raises ValueError if two finals of the suite as it stands claim one place.
    """
    places = dict.fromkeys((column.data, column.model) for column in suite.columns)
    groups = []
    for data, model in places:
        columns = [c for c in suite.columns if (c.data, c.model) == (data, model)]
        rows = [_row(suite, column) for column in columns]
        if all(not row.finals for row in rows) and suite.costs:
            continue
        rows.sort(key=lambda row: -row.test.mean if row.test else float('inf'))
        groups.append(Group(data, model, suite, tuple(rows)))
    return groups


def _row(suite: SuiteResults, column: Column) -> Row:
    key = (column.data, column.model, column.method)
    scored = [cell for cell in suite.current(FINAL) if not cell.costs]
    cells = [c for c in scored if (c.data, c.model, c.method) == key]
    finished, missing = [], []
    for seed in column.seeds or suite.seeds:
        of_seed = [cell for cell in cells if cell.seed == seed]
        done = [cell for cell in of_seed if cell.state == 'finished']
        if len(done) > 1:
            raise ValueError(
                f'the suite {suite.name} counts two results of {column.method}, seed {seed}, as '
                f'current: {", ".join(cell.id for cell in done)}; run the suite again'
            )
        finished += done
        if not done:
            missing.append(f'seed {seed}: {_lack(of_seed)}')
        elif done[0].score(TEST, suite.metric) is None:
            missing.append(f'seed {seed}: its result has no {suite.metric} of the test images')
    return Row(column, suite, tuple(finished), tuple(missing))


def _lack(cells: Iterable[Cell]) -> str:
    failed = [cell for cell in cells if cell.state == 'failed']
    if failed:
        errors = failed[0].failures
        times = {1: 'once', 2: 'twice'}.get(len(errors), f'{len(errors)} times')
        return f'failed {times} ({first_line(errors[-1])})'
    return 'not finished' if list(cells) else 'not run'


def first_line(text: str, limit: int = 160) -> str:
    """The line of an error that says most: the last one of a traceback, shortened."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()] or ['no message']
    line = lines[-1] if lines[0].startswith('Traceback') else lines[0]
    return line if len(line) <= limit else f'{line[: limit - 1]}…'


def _mean(spread: Spread | None) -> float | None:
    return spread.mean if spread else None


def trials_of(suite: SuiteResults, column: Column) -> Sequence[Cell]:
    """Current trials of a column."""
    key = (column.data, column.model, column.method)
    return [c for c in suite.current('trial') if (c.data, c.model, c.method) == key]
