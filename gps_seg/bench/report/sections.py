"""Everything that the report says of one suite, computed once for all its forms."""

from collections.abc import Sequence
from dataclasses import dataclass

from gps_seg.bench.report.beside import Beside, beside
from gps_seg.bench.report.costs import cost_tables
from gps_seg.bench.report.means import means_tables
from gps_seg.bench.report.results import SuiteResults
from gps_seg.bench.report.summary import Group, summarise
from gps_seg.bench.report.tables import (
    Table,
    failures_table,
    main_table,
    short_table,
    stale_table,
    trials_table,
)


@dataclass(frozen=True)
class Section:
    """A suite with its tables. main, short, trials: one a group; means: one a model."""

    suite: SuiteResults
    groups: tuple[Group, ...]
    main: tuple[Table, ...]
    short: tuple[Table, ...]
    trials: tuple[Table, ...]
    means: tuple[Table, ...]
    costs: tuple[Table, ...]
    published: tuple[Beside, ...]
    stale: Table
    failures: Table


def section_of(suite: SuiteResults, published: Sequence[str] = ()) -> Section:
    """Compute the tables of a suite. published: names of tables beside those that it names."""
    groups = tuple(summarise(suite))
    return Section(
        suite=suite,
        groups=groups,
        main=tuple(main_table(group) for group in groups),
        short=tuple(short_table(group) for group in groups),
        trials=tuple(trials_table(suite, [row.column for row in group.rows]) for group in groups),
        means=tuple(means_tables(suite, groups)),
        costs=tuple(cost_tables(suite)),
        published=tuple(beside(suite, groups, published)),
        stale=stale_table(suite),
        failures=failures_table(suite),
    )
