"""Pictures of suites that sweep a quantity: the score against it, a line for each series."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from gps_seg.bench.report.charts import COLOURS, MARKERS, plain_axes
from gps_seg.bench.report.results import SuiteResults
from gps_seg.bench.report.summary import Group, Row, Spread
from gps_seg.bench.report.svg import INK

Series = Mapping[str, Sequence[tuple[float, Spread]]]


@dataclass(frozen=True)
class Sweep:
    """A picture of a suite. place: model, and data set where one picture shows one."""

    figure: Figure
    place: str


def sweeps(suite: SuiteResults, groups: Sequence[Group]) -> list[Sweep]:
    """The pictures of a suite's sweep: one a model over data sets, one a group over methods.

    Points without a score are left out, and a picture without any.
    """
    if not suite.sweep:
        return []
    points = suite.sweep['points']
    if points.keys() <= {group.data for group in groups}:
        models = dict.fromkeys(group.model for group in groups)
        drawn = [
            (model, _over_data(points, [group for group in groups if group.model == model]))
            for model in models
        ]
    else:
        drawn = [(f'{g.model} on {g.data}', _over_methods(points, g)) for g in groups]
    return [Sweep(_figure(suite, series), place) for place, series in drawn if series]


def _over_data(points: Mapping[str, float], groups: Sequence[Group]) -> Series:
    scored = [(group, row) for group in groups if group.data in points for row in group.scored]
    order = {column.method: i for i, column in enumerate(groups[0].suite.columns)}
    scored.sort(key=lambda pair: (order[pair[1].method], points[pair[0].data]))
    return _series((row.label, points[group.data], row) for group, row in scored)


def _over_methods(points: Mapping[str, Any], group: Group) -> Series:
    rows = {row.method: row for row in group.scored}
    known = [(line, x, rows[name]) for name, (line, x) in points.items() if name in rows]
    order = list(dict.fromkeys(line for line, _, _ in known))
    return _series(sorted(known, key=lambda point: (order.index(point[0]), point[1])))


def _series(points: Iterable[tuple[str, float, Row]]) -> Series:
    series: dict[str, list[tuple[float, Spread]]] = {}
    for line, x, row in points:
        assert row.test is not None
        series.setdefault(line, []).append((x, row.test))
    return series


def _figure(suite: SuiteResults, series: Series) -> Figure:
    figure = Figure(figsize=(4.4, 3.4), layout='constrained')
    axes = figure.add_subplot()
    for index, (name, line) in enumerate(series.items()):
        deviations = [spread.deviation or 0.0 for _, spread in line]
        axes.errorbar(
            [x for x, _ in line],
            [spread.mean for _, spread in line],
            yerr=deviations if any(deviations) else None,
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=5,
            linewidth=1.6,
            capsize=2.5,
            label=name,
        )
    xs = sorted({x for line in series.values() for x, _ in line})
    if suite.sweep.get('log'):
        axes.set_xscale('log')
    if len(xs) <= 16:
        axes.xaxis.set_major_locator(FixedLocator(xs))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    axes.set_xlabel(suite.sweep['x'])
    axes.set_ylabel(f'{suite.tested} {suite.metric}, %')
    plain_axes(axes, grid='both')
    if len(series) > 1:
        figure.legend(
            loc='outside lower center', ncols=2, frameon=False, fontsize=8, labelcolor=INK
        )
    return figure
