import re
from dataclasses import replace
from typing import Any

import pytest

from gps_seg.bench.report.beside import Beside, beside
from gps_seg.bench.report.published import FOLDER, PUBLISHED, load_published
from gps_seg.bench.report.results import SuiteResults
from gps_seg.bench.report.summary import summarise


def shown(whole: SuiteResults, *published: Any, more: tuple[str, ...] = ()) -> list[Beside]:
    suite = replace(whole, published=published)
    return beside(suite, summarise(suite), more)


def test_every_file_is_read_and_named_in_the_read_me() -> None:
    text = (FOLDER / 'README.md').read_text()
    for path in FOLDER.glob('*.csv'):
        assert load_published(path.stem)
        assert f'`{path.name}`' in text


@pytest.mark.parametrize('name', PUBLISHED)
def test_every_table_has_rows_with_scores_and_gps_among_them(name: str) -> None:
    kind = PUBLISHED[name]
    rows = [
        row
        for row in load_published(kind.file)
        if (row['table'], row['backbone']) == (kind.table, kind.backbone)
    ]
    needed = {'GPS', 'Net'} if kind.file == 'ablations' else {'Full', 'GPS'}
    assert needed <= {row['method'] for row in rows}
    assert all(re.fullmatch(r'\d+(\.\d+)?', row['value']) for row in rows if row['value'])
    assert 'arXiv:2312.10136' in kind.source
    assert kind.protocol


def test_published_results_stand_beside_the_methods_of_their_name(whole: SuiteResults) -> None:
    (part,) = shown(whole, 'table5_sam')
    rows = [
        dict(zip(part.table.header, (e.text for e in row), strict=True)) for row in part.table.rows
    ]
    pairs = {(row['published'], row['ours']) for row in rows}
    assert pairs == {
        ('Full', 'full'),
        ('Linear', 'decoder and neck (linear)'),
        ('Bias', '–'),
        ('Adapter', '–'),
        ('SSF', '–'),
        ('GPS', 'GPS, K = 40'),
        ('GPS', 'GPS, K = 10'),
    }
    full = next(row for row in rows if row['published'] == 'Full')
    assert (full['mDice %'], full['mIoU %'], full['parameters M']) == ('71.1', '55.7', '93.8')
    assert full['our mDice %'] == '84.35 ± 0.35'
    assert 'no race' in part.protocol
    assert 'background pixels' in part.protocol
    assert 'Table 5' in part.table.caption


def test_a_suite_may_say_what_stands_beside_what(whole: SuiteResults) -> None:
    wish = {'name': 'table5_sam', 'rows': {'gps_k10': 'GPS', 'linear': 'SSF'}}
    (part,) = shown(whole, wish)
    pairs = {(row[0].text, row[4].text) for row in part.table.rows}
    assert ('GPS', 'GPS, K = 10') in pairs
    assert ('SSF', 'decoder and neck (linear)') in pairs
    assert ('Full', '–') in pairs


def test_another_data_set_is_named_by_the_suite(whole: SuiteResults) -> None:
    wish = {'name': 'table2_fgvc_vit', 'data': {'kvasir_seg': 'Oxford Flowers'}}
    (part,) = shown(whole, wish)
    assert part.table.caption.endswith('Oxford Flowers')
    assert 'our mDice %' not in part.table.header  # they print another metric


@pytest.mark.parametrize(
    'wish, told',
    [
        ('table5_sma', 'did you mean table5_sam'),
        ('x', 'there are table2_fgvc_vit'),
        ({'rows': {}}, 'no name and no dict'),
        ({'name': 'table5_sam', 'other': 1}, 'no name and no dict'),
        ('table3_vtab', 'has no results of kvasir_seg; it has CIFAR-100'),
        ({'name': 'table5_sam', 'rows': {'gps_k10': 'GSP'}}, "no method 'GSP' for gps_k10"),
        ({'name': 'table5_sam', 'data': {'kvasir_seg': 'x'}}, "no data set 'x'"),
    ],
)
def test_a_wish_that_cannot_be_met_is_named(whole: SuiteResults, wish: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        shown(whole, wish)


def test_further_tables_are_shown_where_they_fit(whole: SuiteResults) -> None:
    assert [part.name for part in shown(whole, more=('table5_sam', 'table3_vtab'))] == [
        'table5_sam'
    ]


def test_an_unknown_file_names_what_there_is() -> None:
    with pytest.raises(FileNotFoundError, match='there are ablations'):
        load_published('nothing')
