"""What papers print, and which of it stands beside what of ours.

A suite names the tables that stand beside its own, in `published`: a name of PUBLISHED, or
`dict(name='table5_sam', rows=dict(gps_k10='GPS'), data=dict(polyps='Kvasir-SEG'))`, where `rows`
says which published method a method of the suite is set beside and `data` which data set. Without
`rows`, methods go by their name up to the K or rank behind it: `gps_k10` beside GPS, `full` beside
Full. Without `data`, data sets go by their name: `kvasir_seg` beside Kvasir-SEG. `tests` says which
data set a further test set is, `means` under which name a mean of the suite is printed.

The numbers are in gps_seg/bench/published/*.csv, their sources in the README.md there.
"""

import csv
import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gps_seg.bench.report.summary import Group, Row

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
_ABLATION = (
    'The paper gives means over three seeds. Its Table 2 prints other scores for GPS on the same '
    'data sets (CUB 89.9 against 88.07 here); what was different is not said.'
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
        ('table8_robustness', 'robustness', '8', _VIT, _CLASSIFICATION),
        ('table9_fgvc_swin', 'fgvc', '9', 'Swin-B', _CLASSIFICATION),
        ('table9_fgvc_convnext', 'fgvc', '9', 'ConvNeXt-B', _CLASSIFICATION),
        ('table10_cifar_vit', 'general', '10', _VIT, _CLASSIFICATION),
        ('table10_cifar_swin', 'general', '10', 'Swin-B', _CLASSIFICATION),
        ('table10_cifar_convnext', 'general', '10', 'ConvNeXt-B', _CLASSIFICATION),
        ('table11_imagenet_vit', 'general', '11', _VIT, _CLASSIFICATION),
        ('table11_imagenet_swin', 'general', '11', 'Swin-B', _CLASSIFICATION),
        ('table11_imagenet_convnext', 'general', '11', 'ConvNeXt-B', _CLASSIFICATION),
        ('table12_ablations', 'ablations', '12 (and 6)', _VIT, _ABLATION),
    )
}


@dataclass(frozen=True)
class Wish:
    """What a suite wants beside it: a table, and names of it by names of the suite."""

    name: str
    rows: Mapping[str, str]
    data: Mapping[str, str]
    tests: Mapping[str, str]
    means: Mapping[str, str]


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


def wish_of(entry: Any) -> Wish:
    """Read an entry of a suite's `published`. Raises ValueError for one that says nothing known."""
    wish: dict[str, Any] = {'name': entry} if isinstance(entry, str) else dict(entry)
    known = [key.name for key in fields(Wish)]
    if wish.keys() - set(known) or 'name' not in wish:
        raise ValueError(
            f'published: {entry!r} is no name and no dict of name, {" and ".join(known[1:])}'
        )
    name = wish['name']
    if name not in PUBLISHED:
        near = difflib.get_close_matches(str(name), PUBLISHED, n=1)
        hint = f'did you mean {near[0]}?' if near else f'there are {", ".join(PUBLISHED)}'
        raise ValueError(f'no published table {name!r}; {hint}')
    return Wish(name, **{key: wish.get(key) or {} for key in known[1:]})


def rows_of(name: str) -> list[dict[str, str]]:
    """The lines of a published table."""
    kind = PUBLISHED[name]
    rows = load_published(kind.file)
    return [row for row in rows if (row['table'], row['backbone']) == (kind.table, kind.backbone)]


def partners_of(group: Group, wish: Wish, published: Sequence[str]) -> dict[str, list[Row]]:
    """Rows of ours by the published method that they are set beside."""
    for method, name in wish.rows.items():
        if name not in published:
            raise ValueError(
                f'{wish.name} has no method {name!r} for {method}; it has {", ".join(published)}'
            )
    by_name = {plain(name): name for name in published}
    partners: dict[str, list[Row]] = {}
    for row in group.scored:
        base = plain(re.sub(r'_[kr]\d+$', '', row.method))
        beside_it = wish.rows.get(row.method) if wish.rows else by_name.get(base)
        if beside_it is not None:
            partners.setdefault(beside_it, []).append(row)
    return partners


def dataset_of(data: str, named: Mapping[str, str], wish: Wish, known: Sequence[str]) -> str | None:
    """The published data set of one of ours, by what the suite names or by an equal name."""
    if data in named:
        if named[data] not in known:
            raise ValueError(
                f'{wish.name} has no data set {named[data]!r}; it has {", ".join(known)}'
            )
        return named[data]
    same = [name for name in known if plain(name) == plain(data)]
    return same[0] if same else None


def same_metric(printed: str, tests: Collection[str]) -> str | None:
    """Our metric of the name that is printed, such as top1 for 'top1_% mean of 3 seeds'."""
    name = plain(printed.partition('_%')[0])
    return next((test for test in tests if plain(test.rpartition('/')[2]) == name), None)


def plain(text: str) -> str:
    """A name without case and signs."""
    return re.sub(r'[^a-z0-9]', '', text.lower())
