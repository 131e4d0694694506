import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from gps_seg.bench.report.page import page, provenance
from gps_seg.bench.report.results import SuiteResults
from gps_seg.bench.report.sections import section_of
from gps_seg.bench.report.sheets import data_address
from tests.bench.made_results import MadeSuite, write_cost_suite
from tests.bench.report.conftest import results_of

EVIL = '<script>alert("x")</script>&"\'{{ 7 * 7 }}'
VOID = {'meta', 'link', 'img', 'br'}


class Reader(HTMLParser):
    """Checks that elements close in order; keeps texts, addresses and headings."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or '' for k, v in attrs if k in ('src', 'href') and tag != 'use']
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f'{tag} closes out of order'

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope='module')
def html(whole: SuiteResults) -> str:
    return page('A title', [section_of(whole)], ['results.sqlite', 'a b.csv'])


def test_the_page_is_well_formed_and_asks_for_nothing(html: str) -> None:
    reader = Reader(html)
    outside = [a for a in reader.addresses if not a.startswith(('data:', '#'))]
    assert outside == ['results.sqlite', 'a%20b.csv']  # links to the files beside it, not loaded
    assert '@import' not in html
    assert 'url(http' not in html
    assert "default-src 'none'" in html


def test_the_page_has_all_parts(html: str) -> None:
    reader = Reader(html)
    text = ' '.join(' '.join(reader.texts).split())
    for part in (
        'A title',
        'Full scores highest: 84.35 ± 0.35 % mDice',
        'GPS, K = 10 is 3.2 points below full',
        'Who wins, and at what cost',
        'Score against cost',
        'How the training went',
        'Predictions',
        'Everything measured',
        'Every trial of a setting',
        'Published beside ours',
        'Two methods tie if',
        'A & B are <same>.',
        'versions: torch',
        '2.15.0',
    ):
        assert part in text, part
    assert reader.tags.count('svg') == 1 + 3 + 2
    assert reader.tags.count('img') == 5


def test_texts_from_results_are_escaped(whole: SuiteResults) -> None:
    columns = tuple(replace(column, label=EVIL) for column in whole.columns)
    cells = tuple(
        replace(cell, label=EVIL, failures=[EVIL], id=f'{EVIL}{cell.id}', is_current=index % 5 > 0)
        for index, cell in enumerate(whole.cells)
    )
    suite = replace(whole, columns=columns, cells=cells, notes=[EVIL], title=EVIL, commit=EVIL)
    html = page(EVIL, [section_of(suite)], [EVIL])
    reader = Reader(html)
    assert reader.tags.count('script') == 1
    assert '<script>alert' not in html
    assert '49' not in re.findall(r'alert\("x"\)</script>&"\'(\w*)', ''.join(reader.texts))
    assert ''.join(reader.texts).count(EVIL) > 20


def test_the_same_results_give_the_same_page(whole: SuiteResults, html: str) -> None:
    assert page('A title', [section_of(whole)], ['results.sqlite', 'a b.csv']) == html


def test_several_suites_are_listed_at_the_top(whole: SuiteResults, tmp_path: Path) -> None:
    costs = results_of(write_cost_suite(tmp_path / 'costs'))
    html = page('Both', [section_of(whole), section_of(costs)])
    reader = Reader(html)
    assert reader.addresses[1:3] == ['#kvasir-tiny', '#cost']
    assert 'backward GFLOP' in ''.join(reader.texts)


def test_what_is_lacking_stale_or_failed_has_its_place(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'full', 0)
    made.final('kvasir_seg', 'linear', 0)
    made.start(made.cell('kvasir_seg', 'gps_k10', 'final', 0, 1e-3), failures=['boom'])
    made.current.pop(1)
    html = page('x', [section_of(results_of(made.write_suite()))])
    text = ''.join(Reader(html).texts)
    for part in (
        'Not there yet.',
        'GPS, K = 10: seed 0: failed once (boom)',
        'Stale cells',
        'Failures',
    ):
        assert part in text


def test_a_suite_that_has_not_begun_has_a_page(made: MadeSuite) -> None:
    text = ''.join(Reader(page('x', [section_of(results_of(made.write_suite()))])).texts)
    assert 'No winner yet' in text
    assert text.count('seed 0: not run; seed 1: not run') == 5


def test_provenance_counts_what_differs(whole: SuiteResults) -> None:
    cells = [
        replace(cell, machine={'cpu': 'other'}) if cell.method == 'full' else cell
        for cell in whole.cells
    ]
    pairs = dict(provenance(replace(whole, cells=cells)))
    assert pairs['versions: torch'] == '2.15.0'
    told = pairs['machine: cpu'].split('; ')
    assert sorted(told) == ['a made one (8 runs)', 'other (2 runs)']
    assert pairs['hashes: data test'] == 'd1'
    assert pairs['hashes: config'].startswith('10 configurations: ')


def test_a_sheet_is_made_small_enough(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), np.uint8)
    file = tmp_path / 'sheet.png'
    cv2.imwrite(str(file), noise)
    address = data_address(file, most_bytes=200_000)
    kind, coded = address.split(',')
    assert kind == 'data:image/jpeg;base64'
    content = base64.b64decode(coded)
    assert len(content) <= 200_000
    small = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert small is not None
    assert small.shape[1] / small.shape[0] == pytest.approx(2000 / 1500, rel=0.01)
    with pytest.raises(ValueError, match='does not fit into 1,000 bytes'):
        data_address(file, most_bytes=1000)


@pytest.mark.parametrize('content', [b'', b'no picture'])
def test_a_sheet_that_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / 'sheet.png'
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r'sheet\.png is no picture'):
        data_address(file)
