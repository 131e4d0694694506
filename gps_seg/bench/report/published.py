"""Published results beside ours.

A suite names the tables that stand beside its own, in `published`: a name of PUBLISHED, or
`dict(name='table5_sam', rows=dict(gps_k10='GPS'), data=dict(polyps='Kvasir-SEG'))`, where `rows`
says which published method a method of the suite is set beside and `data` which data set. Without
`rows`, methods go by their name up to the K or rank behind it: `gps_k10` beside GPS, `full` beside
Full. Without `data`, data sets go by their name: `kvasir_seg` beside Kvasir-SEG.

The numbers are in gps_seg/bench/published/*.csv, their sources in the README.md there.
"""

import csv
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gps_seg.bench.report import numbers
from gps_seg.bench.report.results import SuiteResults
from gps_seg.bench.report.summary import Group, Row
from gps_seg.bench.report.tables import Entry, Table

FOLDER = Path(__file__).parents[1] / 'published'

_GPS = 'Zhang et al., CVPR 2024 (arXiv:2312.10136)'
_CLASSIFICATION = (
    'The paper trains 100 epochs with settings of its own for every data set; which epoch it '
    'reports is not said, and the authors’ public code takes the best one on the test images.'
)
_SAM = (
    'The paper trains SAM ViT-B, 93.8 M entries, with settings that it does not give. The authors’ '
    'public code trains at 1024 pixels from the official weights, selects entries on the list that '
    'it also tests on, takes the best epoch on that list, and drops all background pixels from the '
    'scores, so that false positives never count. Five of the six printed pairs of mDice and mIoU '
    'cannot come from one way of averaging.'
)


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper.

    file: in FOLDER. table, backbone: as the file names them. protocol: how it was measured, where
    that differs from what a suite does.
    """

    file: str
    table: str
    backbone: str
    source: str
    protocol: str


_VIT = 'ViT-B/16 (IN-21k)'
PUBLISHED = {
    name: PublishedTable(file, table, backbone, f'{_GPS}, Table {table}', protocol)
    for name, file, table, backbone, protocol in (
        ('table2_fgvc_vit', 'fgvc', '2', _VIT, _CLASSIFICATION),
        ('table3_vtab', 'vtab', '3', _VIT, _CLASSIFICATION),
        ('table5_sam', 'kvasir', '5', 'SAM (93.8 M: ViT-B)', _SAM),
        ('table9_fgvc_swin', 'fgvc', '9', 'Swin-B', _CLASSIFICATION),
        ('table9_fgvc_convnext', 'fgvc', '9', 'ConvNeXt-B', _CLASSIFICATION),
        ('table10_cifar_vit', 'general', '10', _VIT, _CLASSIFICATION),
        ('table10_cifar_swin', 'general', '10', 'Swin-B', _CLASSIFICATION),
        ('table10_cifar_convnext', 'general', '10', 'ConvNeXt-B', _CLASSIFICATION),
        ('table11_imagenet_vit', 'general', '11', _VIT, _CLASSIFICATION),
        ('table11_imagenet_swin', 'general', '11', 'Swin-B', _CLASSIFICATION),
        ('table11_imagenet_convnext', 'general', '11', 'ConvNeXt-B', _CLASSIFICATION),
    )
}


@dataclass(frozen=True)
class Beside:
    """A published table set beside a group, with its source and what differs in protocol."""

    name: str
    table: Table
    source: str
    protocol: str


def load_published(file: str) -> list[dict[str, str]]:
    """Read a file of FOLDER by its name without `.csv`; values as printed, absent ones empty.

    Raises FileNotFoundError that names what there is.
    """
    path = FOLDER / f'{file}.csv'
    if not path.is_file():
        there = ', '.join(sorted(path.stem for path in FOLDER.glob('*.csv')))
        raise FileNotFoundError(f'no published results {file}; there are {there}')
    with path.open(newline='', encoding='utf-8') as lines:
        return [{key: text or '' for key, text in row.items()} for row in csv.DictReader(lines)]


def beside(suite: SuiteResults, groups: Sequence[Group], more: Sequence[str] = ()) -> list[Beside]:
    """The published tables that the suite names, and `more`, each beside the groups it fits.

    Raises ValueError for an unknown name, and for one of the suite's own that fits no data set.
    """
    made = []
    own = [_wish(entry) for entry in suite.published]
    for wish, is_own in [(wish, True) for wish in own] + [(_wish(name), False) for name in more]:
        published = [_beside(group, wish) for group in groups if group.scored]
        fitting = [part for part in published if part is not None]
        if is_own and not fitting and published:
            known = ', '.join(sorted({row['dataset'] for row in _rows(wish.name)}))
            ours = ', '.join(dict.fromkeys(group.data for group in groups))
            raise ValueError(
                f'{wish.name} has no results of {ours}; it has {known}: name one in '
                f'dict(name={wish.name!r}, data=...) of the suite {suite.name}'
            )
        made += fitting
    return made


@dataclass(frozen=True)
class _Wish:
    name: str
    rows: Mapping[str, str]
    data: Mapping[str, str]


def _wish(entry: Any) -> _Wish:
    wish: dict[str, Any] = {'name': entry} if isinstance(entry, str) else dict(entry)
    unknown = wish.keys() - {'name', 'rows', 'data'}
    if unknown or 'name' not in wish:
        raise ValueError(f'published: {entry!r} is no name and no dict of name, rows and data')
    name = wish['name']
    if name not in PUBLISHED:
        near = difflib.get_close_matches(str(name), PUBLISHED, n=1)
        hint = f'did you mean {near[0]}?' if near else f'there are {", ".join(PUBLISHED)}'
        raise ValueError(f'no published table {name!r}; {hint}')
    return _Wish(name, wish.get('rows') or {}, wish.get('data') or {})


def _rows(name: str) -> list[dict[str, str]]:
    kind = PUBLISHED[name]
    rows = load_published(kind.file)
    return [row for row in rows if (row['table'], row['backbone']) == (kind.table, kind.backbone)]


def _beside(group: Group, wish: _Wish) -> Beside | None:
    kind, rows = PUBLISHED[wish.name], _rows(wish.name)
    dataset = _dataset(group.data, wish, list(dict.fromkeys(row['dataset'] for row in rows)))
    if dataset is None:
        return None
    values: dict[str, dict[str, str]] = {}
    notes: dict[str, str] = {}
    for row in rows:
        if row['dataset'] == dataset:
            values.setdefault(row['method'], {})[row['metric']] = row['value']
            notes[row['method']] = notes.get(row['method']) or row['note']
    partners = _partners(group, wish, list(values))
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
    pairs = [(metric, _same_metric(metric, group.suite.tests)) for metric in metrics]
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
                    *(Entry(numbers.spread(s), s.mean if s else None) for s in spreads),
                    Entry(numbers.percent(row.share if row else None), row.share if row else None),
                    Entry(notes.get(method, '')),
                )
            )
    first = len(metrics)
    header = ('published', *headings[:first], 'ours', *headings[first:], 'our trained %', 'note')
    return Table('', header, tuple(rows))


def _partners(group: Group, wish: _Wish, published: Sequence[str]) -> dict[str, list[Row]]:
    """Rows of ours by the published method that they are set beside."""
    for method, name in wish.rows.items():
        if name not in published:
            raise ValueError(
                f'{wish.name} has no method {name!r} for {method}; it has {", ".join(published)}'
            )
    by_name = {_plain(name): name for name in published}
    partners: dict[str, list[Row]] = {}
    for row in group.scored:
        base = _plain(re.sub(r'_[kr]\d+$', '', row.method))
        beside_it = wish.rows.get(row.method) if wish.rows else by_name.get(base)
        if beside_it is not None:
            partners.setdefault(beside_it, []).append(row)
    return partners


def _dataset(data: str, wish: _Wish, known: Sequence[str]) -> str | None:
    if data in wish.data:
        if wish.data[data] not in known:
            raise ValueError(
                f'{wish.name} has no data set {wish.data[data]!r}; it has {", ".join(known)}'
            )
        return wish.data[data]
    same = [name for name in known if _plain(name) == _plain(data)]
    return same[0] if same else None


def _same_metric(printed: str, tests: Sequence[str]) -> str | None:
    name = _plain(printed.removesuffix('_%'))
    return next((test for test in tests if _plain(test.rpartition('/')[2]) == name), None)


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


def _plain(text: str) -> str:
    return re.sub(r'[^a-z0-9]', '', text.lower())


def _ours(group: Group) -> str:
    suite = group.suite
    length = f' for {numbers.plural(suite.epochs, "epoch")}' if suite.epochs else ''
    epoch = (
        'the best epoch on validation images' if suite.checkpoint == 'best' else 'the last epoch'
    )
    return (
        f'Ours: {group.model}, trained{length}, {epoch}, test images that chose nothing. The two '
        'sides are no race: compare the methods within each.'
    )
