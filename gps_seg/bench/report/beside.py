"""Published results beside ours: a table for each data set, or one over all that a suite joins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from gps_seg.bench.across import mean_of
from gps_seg.bench.report import numbers
from gps_seg.bench.report.means import by_method, seed_score, spread_of
from gps_seg.bench.report.published import (
    PUBLISHED,
    Wish,
    dataset_of,
    partners_of,
    rows_of,
    same_metric,
    wish_of,
)
from gps_seg.bench.report.results import TEST, SuiteResults
from gps_seg.bench.report.summary import Group, Row, Spread
from gps_seg.bench.report.tables import Entry, Table
from gps_seg.bench.report.words import chosen_epoch, images_chose_nothing

SHARE = 'params_%'


@dataclass(frozen=True)
class Beside:
    """A published table set beside a group, with its source and what differs in protocol."""

    name: str
    table: Table
    source: str
    protocol: str


def beside(suite: SuiteResults, groups: Sequence[Group], more: Sequence[str] = ()) -> list[Beside]:
    """The published tables that the suite names, and `more`, each beside the groups it fits.

    Raises ValueError for an unknown name, and for one of the suite's own that fits no data set.
    """
    made = []
    own = [wish_of(entry) for entry in suite.published]
    for wish, is_own in [(wish, True) for wish in own] + [(wish_of(name), False) for name in more]:
        scored = [group for group in groups if group.scored]
        fitting = _wide(suite, scored, wish) if suite.means or wish.tests else _each(scored, wish)
        if is_own and not fitting and scored:
            known = ', '.join(sorted({row['dataset'] for row in rows_of(wish.name)}))
            ours = ', '.join(dict.fromkeys(group.data for group in groups))
            raise ValueError(
                f'{wish.name} has no results of {ours}; it has {known}: name one in '
                f'dict(name={wish.name!r}, data=...) of the suite {suite.name}'
            )
        made += fitting
    return made


def _each(groups: Sequence[Group], wish: Wish) -> list[Beside]:
    """A table for each group that the published one has the data set of."""
    tables = [_beside(group, wish) for group in groups]
    return [table for table in tables if table is not None]


def _beside(group: Group, wish: Wish) -> Beside | None:
    kind, rows = PUBLISHED[wish.name], rows_of(wish.name)
    known = list(dict.fromkeys(row['dataset'] for row in rows))
    dataset = dataset_of(group.data, wish.data, wish, known)
    if dataset is None:
        return None
    values: dict[str, dict[str, str]] = {}
    notes: dict[str, str] = {}
    for row in rows:
        if row['dataset'] == dataset:
            values.setdefault(row['method'], {})[row['metric']] = row['value']
            notes[row['method']] = notes.get(row['method']) or row['note']
    partners = partners_of(group, wish, list(values))
    table = _table(group, values, notes, partners)
    caption = f'{kind.source}: {kind.backbone}, {dataset}'
    protocol = f'{kind.protocol} {_ours(group)}'
    return Beside(wish.name, Table(caption, table.header, table.rows), kind.source, protocol)


def _table(
    group: Group,
    values: Mapping[str, Mapping[str, str]],
    notes: Mapping[str, str],
    partners: Mapping[str, list[Row]],
) -> Table:
    metrics = list(dict.fromkeys(metric for printed in values.values() for metric in printed))
    pairs = [(metric, same_metric(metric, group.suite.tests)) for metric in metrics]
    ours = [name for _, name in pairs if name is not None]
    headings = (*(_heading(metric) for metric in metrics), *(f'our {name} %' for name in ours))
    rows = []
    for method, printed in values.items():
        ours_of: Sequence[Row | None] = partners.get(method) or [None]
        for row in ours_of:
            spreads = [row.scores(name) if row else None for name in ours]
            rows.append(
                (
                    Entry(method),
                    *(_printed(printed.get(metric)) for metric in metrics),
                    Entry(row.label if row else numbers.NONE),
                    *(_spread(s) for s in spreads),
                    Entry(numbers.percent(row.share if row else None), row.share if row else None),
                    Entry(notes.get(method, '')),
                )
            )
    first = len(metrics)
    header = ('published', *headings[:first], 'ours', *headings[first:], 'our trained %', 'note')
    return Table('', header, tuple(rows))


@dataclass(frozen=True)
class _Place:
    """A column of a wide table: our score on a split of a data set, and the published one."""

    heading: str
    data: str
    split: str
    dataset: str
    printed: str
    metric: str | None


def _wide(suite: SuiteResults, groups: Sequence[Group], wish: Wish) -> list[Beside]:
    """A table for each model: a line for each published method, and one for each of ours below."""
    made = []
    for model in dict.fromkeys(group.model for group in groups):
        of_model = [group for group in groups if group.model == model]
        places = _places(suite, of_model, wish)
        if places:
            made.append(_wide_table(suite, of_model, wish, places))
    return made


def _places(suite: SuiteResults, groups: Sequence[Group], wish: Wish) -> list[_Place]:
    rows = rows_of(wish.name)
    known = list(dict.fromkeys(row['dataset'] for row in rows))
    metrics = {row['dataset']: row['metric'] for row in rows if row['metric'] != SHARE}
    wanted = [(group, TEST, group.data, wish.data) for group in groups]
    wanted += [
        (group, f'{TEST}:{test}', test, wish.tests) for group in groups for test in wish.tests
    ]
    places = []
    for group, split, name, named in wanted:
        dataset = dataset_of(name, named, wish, known)
        if dataset is not None and dataset in metrics:
            scored = {m for row in group.rows for c in row.finals for m in c.scores.get(split, {})}
            printed = metrics[dataset]
            metric = same_metric(printed, [*suite.tests, *sorted(scored)])
            places.append(_Place(name, group.data, split, dataset, printed, metric))
    return places


def _wide_table(
    suite: SuiteResults, groups: Sequence[Group], wish: Wish, places: Sequence[_Place]
) -> Beside:
    kind, printed = PUBLISHED[wish.name], rows_of(wish.name)
    methods = list(dict.fromkeys(row['method'] for row in printed))
    ours: dict[str, str] = {}
    for group in groups:
        for published, partners in partners_of(group, wish, methods).items():
            ours |= {row.method: published for row in partners}
    by_name = by_method(groups)
    rows = []
    for method in methods:
        of_method = [row for row in printed if row['method'] == method]
        rows.append(_published_line(suite, wish, places, method, of_method))
        for name in (name for name, published in ours.items() if published == method):
            rows.append(_our_line(suite, by_name[name], places))
    header = (
        'method',
        'whose',
        *(f'{p.heading}{"" if p.metric == suite.metric else _unit(p)}' for p in places),
        *(f'{name}, %' for name in suite.means),
        'trained %',
        'note',
    )
    caption = f'{kind.source}: {kind.backbone}'
    protocol = f'{kind.protocol} {_ours(groups[0])}'
    if suite.means:
        protocol = f'Means of published scores are computed from their cells. {protocol}'
    return Beside(wish.name, Table(caption, header, tuple(rows)), kind.source, protocol)


def _unit(place: _Place) -> str:
    return f' {place.printed.replace("_%", " %").partition(";")[0]}'.replace(' (lower', ', lower')


def _published_line(
    suite: SuiteResults,
    wish: Wish,
    places: Sequence[_Place],
    method: str,
    rows: Sequence[Mapping[str, str]],
) -> tuple[Entry, ...]:
    cells = {(row['dataset'], row['metric']): row['value'] for row in rows}
    texts = [cells.get((place.dataset, place.printed)) for place in places]
    values = {p.heading: float(text) for p, text in zip(places, texts, strict=True) if text}
    means = {name: mean_of(suite.means, name, values) for name in suite.means}
    notes = list(dict.fromkeys(row['note'] for row in rows if row['note']))
    share = None
    for name, dataset in wish.means.items():
        stated = next(iter(v for (d, m), v in cells.items() if d == dataset and m != SHARE), None)
        share = share or cells.get((dataset, SHARE))
        mean = means.get(name)
        if stated and mean is not None and abs(mean - float(stated)) > 0.0051:
            notes.append(f'{name}: printed as {stated}')
    return (
        Entry(method),
        Entry('published'),
        *(_printed(text) for text in texts),
        *(Entry(numbers.score(mean), mean) for mean in means.values()),
        _printed(share),
        Entry('; '.join(notes)),
    )


def _our_line(
    suite: SuiteResults, rows: Mapping[str, Row], places: Sequence[_Place]
) -> tuple[Entry, ...]:
    spreads = []
    for place in places:
        row = rows.get(place.data)
        spreads.append(row.scores(place.metric, place.split) if row and place.metric else None)
    score = partial(seed_score, metric=suite.metric)
    means = [spread_of(suite, rows, name, score) for name in suite.means]
    shares = [row.share for row in rows.values() if row.share is not None]
    share = sum(shares) / len(shares) if shares and len(shares) == len(rows) else None
    return (
        Entry(next(iter(rows.values())).label),
        Entry('ours'),
        *(_spread(spread) for spread in (*spreads, *means)),
        Entry(numbers.percent(share), share),
        Entry(''),
    )


def _spread(spread: Spread | None) -> Entry:
    return Entry(numbers.spread(spread), spread.mean if spread else None)


def _heading(metric: str) -> str:
    name, _, unit = metric.partition('_')
    name = 'parameters' if name == 'params' else name
    return f'{name} {unit}'.strip()


def _printed(text: str | None) -> Entry:
    if not text:
        return Entry(numbers.NONE)
    try:
        return Entry(text, float(text))
    except ValueError:
        return Entry(text)


def _ours(group: Group) -> str:
    suite = group.suite
    length = f' for {numbers.plural(suite.epochs, "epoch")}' if suite.epochs else ''
    return (
        f'Ours: {group.model}, trained{length}, the {chosen_epoch(suite)}, '
        f'{images_chose_nothing(suite)}. The two sides are no race: compare the methods within '
        'each.'
    )
