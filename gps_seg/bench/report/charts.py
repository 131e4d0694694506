"""The pictures of a report, as matplotlib figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from gps_seg.bench.report.labels import place_labels
from gps_seg.bench.report.results import TEST, Curve
from gps_seg.bench.report.summary import Group, Row
from gps_seg.bench.report.svg import GRID, INK, PALE

# Okabe and Ito's hues, darkened or lightened until they stand out on white and on black alike.
COLOURS = ('#2f80c8', '#d98200', '#12966e', '#c0619a', '#d1563a', '#7d74d6', '#8a8a2c', '#7f868c')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X')
LINES = ('-', '--', ':', '-.')
_SIZE = (4.0, 3.1)  # inches: readable at the width of a phone
_MOST_POINTS = 150


@dataclass(frozen=True)
class Style:
    """How a method looks, the same in every picture."""

    colour: str
    marker: str
    line: str


def styles_of(group: Group) -> dict[str, Style]:
    """The style of each method, by the order of the suite's columns; no two are the same."""
    place = (group.data, group.model)
    methods = [c.method for c in group.suite.columns if (c.data, c.model) == place]
    return {
        method: Style(
            COLOURS[index % len(COLOURS)],
            MARKERS[index % len(MARKERS)],
            LINES[index // len(COLOURS) % len(LINES)],
        )
        for index, method in enumerate(methods)
    }


def ranking(group: Group) -> Figure:
    """The methods from best to worst: each seed a point, the mean a line."""
    rows = group.scored
    figure = Figure(figsize=(_SIZE[0], 0.75 + 0.34 * len(rows)), layout='constrained')
    axes = figure.add_subplot()
    styles = styles_of(group)
    for place, row in enumerate(rows):
        assert row.test is not None
        colour, mean = styles[row.method].colour, row.test.mean
        values = row.test.values
        axes.plot([min(values), max(values)], [place, place], color=colour, linewidth=5, alpha=0.35)
        axes.plot(values, [place] * len(values), 'o', color=colour, markersize=5, alpha=0.8)
        axes.plot([mean, mean], [place - 0.32, place + 0.32], color=colour, linewidth=2.2)
        weight = 'bold' if row is group.best else 'normal'
        axes.annotate(
            f'{mean:.2f}',
            (max(values), place),
            xytext=(7, 0),
            textcoords='offset points',
            va='center',
            fontsize=9,
            color=INK,
            fontweight=weight,
        )
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    _roomy(axes, right=0.16)
    axes.set_xlabel(f'{group.suite.tested} {group.suite.metric}, %')
    plain_axes(axes, grid='x')
    axes.tick_params(axis='y', length=0)
    return figure


def against_share(group: Group) -> Figure | None:
    """Score against the share of entries that train, on a logarithmic axis."""
    return _against(group, lambda row: row.share, 'trained entries, % of the model', log=True)


def against_memory(group: Group) -> Figure | None:
    """Score against peak memory: of the device if every method has it, else of the process."""
    if all(row.device_bytes is not None for row in group.scored):
        return _against(group, lambda row: _gibibytes(row.device_bytes), 'peak GPU memory, GiB')
    return _against(group, lambda row: _gibibytes(row.process_bytes), 'peak process memory, GiB')


def against_time(group: Group) -> Figure | None:
    """Score against the time of selection and training together."""
    return _against(group, lambda row: row.seconds and row.seconds / 60, 'time of a run, minutes')


def _gibibytes(value: float | None) -> float | None:
    return None if value is None else value / 2**30


def _against(
    group: Group, cost: Callable[[Row], float | None], title: str, *, log: bool = False
) -> Figure | None:
    """Score against a cost, with the deviation over seeds; None if no method has both."""
    costs = [(row, cost(row)) for row in group.scored]
    drawn = [(row, value) for row, value in costs if value is not None and (value > 0 or not log)]
    if not drawn:
        return None
    figure = Figure(figsize=_SIZE, layout='constrained')
    axes = figure.add_subplot()
    styles = styles_of(group)
    points, names = [], []
    for row, value in drawn:
        assert row.test is not None
        mean, deviation = row.test.mean, row.test.deviation
        axes.errorbar(
            [value],
            [mean],
            yerr=deviation and [deviation],
            fmt=styles[row.method].marker,
            color=styles[row.method].colour,
            markersize=6.5,
            capsize=2.5,
            elinewidth=1.2,
        )
        points.append((value, mean))
        names.append(row.label)
    if log:
        _log_axis(axes, [value for value, _ in points])
    else:
        axes.set_xlim(left=0)
    _roomy(axes, left=0 if not log else 0.1, right=0.18)
    axes.margins(y=0.18)
    axes.set_xlabel(title)
    axes.set_ylabel(f'{group.suite.tested} {group.suite.metric}, %')
    plain_axes(axes, grid='both')
    place_labels(axes, points, names, [styles[row.method].colour for row, _ in drawn])
    return figure


def _log_axis(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis whose ticks are plain numbers, enough of them for a short range too."""
    axes.set_xscale('log')
    decades = np.log10(max(values) / min(values))
    fine = (1.0, 2.0, 5.0) if decades > 0.5 else tuple(range(1, 10))
    steps = (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.5 else fine
    axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))


def learning_curves(group: Group, curve: str) -> Figure | None:
    """A curve of every method: the mean over seeds, with each seed thin behind it.

    curve: 'validation' (score by epoch) or 'loss' (of training, by step). None if there is none.
    """
    figure = Figure(figsize=(_SIZE[0], _SIZE[1] + 0.3), layout='constrained')
    axes = figure.add_subplot()
    styles = styles_of(group)
    drawn = 0
    for row in group.rows:
        lines = [thinned(cell.curves[curve]) for cell in row.finals if cell.curves.get(curve)]
        if not lines:
            continue
        style = styles[row.method]
        for line in lines if len(lines) > 1 else ():
            axes.plot(*line.T, style.line, color=style.colour, linewidth=0.8, alpha=0.4)
        mean = mean_curve(lines)
        marker = 'o' if len(mean) <= 30 else None
        axes.plot(
            *mean.T,
            style.line,
            color=style.colour,
            linewidth=1.8,
            marker=marker,
            markersize=3,
            label=row.label,
        )
        drawn += 1
    if not drawn:
        return None
    is_loss = curve == 'loss'
    axes.set_xlabel('step' if is_loss else 'epoch')
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel('training loss' if is_loss else f'validation {group.suite.validation}, %')
    plain_axes(axes, grid='both')
    figure.legend(loc='outside lower center', ncols=2, frameon=False, fontsize=8, labelcolor=INK)
    return figure


def thinned(curve: Curve, most: int = _MOST_POINTS) -> NDArray[np.float64]:
    """A curve of at most `most` points, each a mean of neighbours. Returns (points, 2)."""
    points = np.array(curve, dtype=float)
    if len(points) <= most:
        return points
    parts = np.array_split(points, most)
    return np.array([part.mean(axis=0) for part in parts])


def mean_curve(lines: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The mean of curves up to the end of the shortest. lines: (points, 2) each, of equal steps."""
    shortest = min(len(line) for line in lines)
    return np.mean([line[:shortest] for line in lines], axis=0)


def further_tests(group: Group) -> Figure | None:
    """Scores on the test images beside those of every further test set; None without one."""
    splits = [TEST, *group.suite.further_tests]
    if len(splits) == 1 or not group.scored:
        return None
    figure = Figure(figsize=(_SIZE[0], _SIZE[1] + 0.3), layout='constrained')
    axes = figure.add_subplot()
    styles = styles_of(group)
    places = np.arange(len(splits))
    width = 0.8 / len(group.scored)
    for index, row in enumerate(group.scored):
        spreads = [row.scores(group.suite.metric, split) for split in splits]
        means = [np.nan if spread is None else spread.mean for spread in spreads]
        bars = [np.nan if s is None or s.deviation is None else s.deviation for s in spreads]
        at = places - 0.4 + (index + 0.5) * width
        axes.errorbar(
            at,
            means,
            yerr=bars,
            fmt=styles[row.method].marker,
            label=row.label,
            color=styles[row.method].colour,
            capsize=2,
            markersize=5,
        )
    axes.set_xticks(places, [split.removeprefix(f'{TEST}:') for split in splits])
    axes.set_ylabel(f'{group.suite.metric}, %')
    plain_axes(axes, grid='y')
    figure.legend(loc='outside lower center', ncols=2, frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _roomy(axes: Axes, *, left: float = 0.0, right: float = 0.0) -> None:
    """Widen the horizontal axis by parts of its length, for texts beside points."""
    is_log = axes.get_xscale() == 'log'
    low, high = axes.get_xlim()
    if is_log:
        low, high = np.log10(low), np.log10(high)
    span = high - low
    low, high = low - left * span, high + right * span
    axes.set_xlim(*((10**low, 10**high) if is_log else (low, high)))


def plain_axes(axes: Axes, *, grid: str) -> None:
    """Axes without what is not needed, in the colours of the page. grid: 'x', 'y' or 'both'."""
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    for side in ('left', 'bottom'):
        axes.spines[side].set_color(PALE)
    axes.tick_params(colors=PALE, labelsize=8, labelcolor=INK)
    axes.xaxis.label.set(color=INK, fontsize=9)
    axes.yaxis.label.set(color=INK, fontsize=9)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis=grid, color=GRID, linewidth=0.7)  # type: ignore[arg-type]
