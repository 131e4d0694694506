import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from gps_seg.bench.report import latex, markdown, words
from gps_seg.bench.report.costs import cost_tables
from gps_seg.bench.report.csv_file import csv_text
from gps_seg.bench.report.results import SuiteResults
from gps_seg.bench.report.sections import Section, section_of
from gps_seg.bench.report.tables import Entry, Table, trials_table
from tests.bench.made_results import METHODS, TOTAL, MadeSuite, write_cost_suite
from tests.bench.report.conftest import results_of

ODD = 'a|b & 50 % of <c>_d #1 {x} *y* ~^\\ $ ≈ −1 "q"'


@pytest.fixture(scope='module')
def section(whole: SuiteResults) -> Section:
    return section_of(whole)


def column(table: Table, name: str) -> list[Entry]:
    place = table.header.index(name)
    return [row[place] for row in table.rows]


def test_the_main_table_holds_all_that_was_measured(section: Section) -> None:
    (table,) = section.main
    full = dict(zip(table.header, (entry.text for entry in table.rows[0]), strict=True))
    assert full == {
        'method': 'full',
        'tuned': 'lr 0.0003',
        'val mDice': '85.85 ± 0.35',
        'test mDice': '84.35 ± 0.35',
        'test mIoU': full['test mIoU'],
        'vs best': 'best',
        'trained': '10,269,680',
        'selected': '0',
        'trained %': '100',
        'seconds': '795',
        'peak MiB': '2,600',
        'delta MB': '41.14',
        'seeds': '2 of 2',
    }
    assert re.fullmatch(r'\d\d\.\d\d ± \d\.\d\d', full['test mIoU'])
    assert [entry.is_bold for entry in column(table, 'test mDice')] == [True] + 4 * [False]
    assert [entry.text[-1] == '≈' for entry in column(table, 'vs best')] == [0, 1, 0, 0, 0]


def test_a_gpu_peak_takes_the_place_of_the_process(made: MadeSuite) -> None:
    for method in METHODS:
        made.final('kvasir_seg', method, 0, peak_device_bytes=3 * 2**30)
    (table,) = section_of(results_of(made.write_suite())).main
    assert {entry.text for entry in column(table, 'GPU peak MiB')} == {'3,072'}


def test_further_test_sets_get_columns(made: MadeSuite) -> None:
    scores = {'test': {'mDice': 80.0}, 'test:etis': {'mDice': 61.5}}
    made.final('kvasir_seg', 'full', 0, scores=scores)
    (table,) = section_of(results_of(made.write_suite())).main
    assert column(table, 'etis mDice')[0].text == '61.50'


def test_a_method_without_results_has_empty_entries(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'full', 0)
    (table,) = section_of(results_of(made.write_suite())).main
    assert [entry.text for entry in table.rows[-1][1:]] == ['–'] * 11 + ['0 of 2']


def test_a_score_of_some_seeds_says_so(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'full', 0)
    (table,) = section_of(results_of(made.write_suite())).short
    assert column(table, 'test mDice %')[0].text == '84.60 (1 of 2 seeds)'


def test_a_method_is_asked_for_its_own_seeds_alone(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'full', 0)
    made.final('kvasir_seg', 'linear', 0)
    made.final('kvasir_seg', 'linear', 1)
    file = made.write_suite() / 'suite.json'
    settings = json.loads(file.read_text())
    for entry in settings['columns']:
        entry['seeds'] = [0, 1] if entry['method'] == 'linear' else [0]
    file.write_text(json.dumps({**settings, 'seeds': [0], 'more_seeds': [1], 'more_for': 1}))
    section = section_of(results_of(made.folder))
    seeds = {row[0].text: row[-1].text for row in section.main[0].rows}
    assert (seeds['full'], seeds['decoder and neck (linear)']) == ('1 of 1', '2 of 2')
    assert 'seeds)' not in column(section.short[0], 'test mDice %')[0].text
    told = words.what_was_compared(section.groups[0])[1]
    assert told.endswith('with 1 seed (0), the best 1 by validation with seed 1 as well.')


def test_every_trial_is_listed_and_the_taken_one_marked(section: Section) -> None:
    (table,) = section.trials
    assert len(table.rows) == 5 * 3
    taken = {row[0].text: row[1].text for row in table.rows if row[3].text == 'taken'}
    assert taken == {method.label: f'lr {method.rate:g}' for method in METHODS.values()}
    gps = [row for row in table.rows if row[0].text == 'GPS, K = 40']
    assert [row[1].text for row in gps] == ['lr 0.0003', 'lr 0.001', 'lr 0.003']
    assert max(gps, key=lambda row: row[2].value or 0)[2].is_bold


def test_a_trial_that_failed_is_listed_as_that(made: MadeSuite) -> None:
    content = made.cell('kvasir_seg', 'full', 'trial', 0, 1e-3)
    made.start(content, failures=['boom'])
    suite = results_of(made.write_suite())
    (row,) = trials_table(suite, suite.columns).rows
    assert row[2].text == 'failed'


def test_stale_cells_and_failures_are_listed(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'full', 0)
    made.start(made.cell('kvasir_seg', 'gps_k10', 'final', 0, 1e-3), failures=['one', 'two'])
    stale = made.current.pop(0)
    section = section_of(results_of(made.write_suite()))
    assert [row[-1].text for row in section.stale.rows] == [stale]
    assert [(row[1].text, row[2].text) for row in section.failures.rows] == [
        ('1', 'one'),
        ('2', 'two'),
    ]


def test_costs_are_a_table_with_units(tmp_path: Path) -> None:
    suite = results_of(write_cost_suite(tmp_path / 'costs'))
    (table,) = cost_tables(suite)
    assert table.header == ('method', 'backward GFLOP', 'saved for backward MiB', 'step / full')
    assert [[entry.text for entry in row] for row in table.rows] == [
        ['full step', '283.0', '450.8', '1.00'],
        ['gps step', '148.3', '302.0', '0.71'],
    ]


def test_costs_measured_several_times_give_the_median(tmp_path: Path) -> None:
    folder = tmp_path / 'costs'
    made = MadeSuite(folder, settings={'name': 'cost', 'published': []})
    for seed, value in enumerate((1.0, 9.0, 2.0)):
        content = made.cell('kvasir_seg', 'full', 'final', seed, 1e-3)
        made.finish(content, rows={'full': {'step_s': value, 'new_quantity': value}})
    (table,) = cost_tables(results_of(made.write_suite()))
    assert table.header == ('method', 'step s', 'new_quantity')
    assert [entry.text for entry in table.rows[0][1:]] == ['2.000', '2']


def test_markdown_tables_keep_their_columns_whatever_the_text() -> None:
    table = Table('', ('method', ODD), ((Entry(ODD, is_bold=True), Entry('1', 1.0)),))
    lines = markdown.markdown_table(table).splitlines()
    cells = [re.split(r'(?<!\\)\|', line)[1:-1] for line in lines]
    assert [len(row) for row in cells] == [2, 2, 2]
    assert lines[1] == '| --- | --: |'
    assert '<c>' not in lines[2]
    assert cells[2][0].strip().startswith('**a\\|b ')


def test_the_markdown_names_what_is_lacking_and_stale(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'full', 0)
    made.final('kvasir_seg', 'full', 1)
    made.current.pop()
    text = markdown.whole(section_of(results_of(made.write_suite())))
    assert 'Not there: full: seed 1: not run; ' in text.replace('\\', '')
    assert re.search(r'Stale, in no number above: \S*full\S*s1\.', text)


def test_markdown_blocks_are_the_whole_and_its_parts(section: Section) -> None:
    parts = markdown.blocks(section)
    assert list(parts) == ['kvasir-tiny', 'kvasir-tiny:short', 'kvasir-tiny:words']
    assert parts['kvasir-tiny'].count('| **full** |') == 1
    assert '| vs full |' in parts['kvasir-tiny:short']
    assert '|' not in parts['kvasir-tiny:words']


@pytest.mark.parametrize('data', [('kvasir_seg',), ('kvasir_seg', 'other')])
def test_several_tables_are_captioned(made: MadeSuite, data: tuple[str, ...]) -> None:
    made.data = data
    made.write(trials=False)
    text = markdown.whole(section_of(results_of(made.folder)))
    assert text.count('**other, sam-vit-tiny-256**') == (len(data) > 1)


def test_the_csv_holds_unrounded_numbers(section: Section, whole: SuiteResults) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(section))))
    assert [row['method'] for row in rows] == ['full', 'gps_k40', 'gps_k10', 'random_k10', 'linear']
    full = rows[0]
    finals = [cell for cell in whole.current('final') if cell.method == 'full']
    values = [cell.scores['test']['mDice'] for cell in finals]
    assert [float(text) for text in full['test/mDice by seed'].split()] == values
    assert float(full['test/mDice mean']) == pytest.approx(sum(values) / 2, rel=1e-12)
    assert float(full['share']) == pytest.approx(100 * METHODS['full'].trained / TOTAL)
    assert (full['is_best'], full['verdict_to_best'], full['verdict_to_control']) == (
        '1',
        '',
        'difference',
    )
    assert float(rows[2]['low_to_reference']) < float(rows[2]['points_to_reference']) < 0


def test_the_csv_of_a_cost_suite_has_a_line_a_quantity(tmp_path: Path) -> None:
    text = csv_text(section_of(results_of(write_cost_suite(tmp_path / 'costs'))))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 6
    assert rows[0]['method'] == 'full'
    assert float(rows[0]['value']) == 283.0


def test_latex_is_escaped_and_balanced(whole: SuiteResults) -> None:
    columns = tuple(replace(column, label=ODD) for column in whole.columns)
    section = section_of(replace(whole, columns=columns, published=('table5_sam',)))
    text = latex.latex(section)
    assert latex.escape(ODD) in text
    body = re.sub(r'\\[\\{}%&$#_]', '', text)  # what is escaped is text
    assert body.count('{') == body.count('}')
    assert body.count('$') % 2 == 0
    assert text.isascii()
    for environment in ('table', 'tabular'):
        opened = text.count(rf'\begin{{{environment}}}')
        assert opened == text.count(rf'\end{{{environment}}}') == 2
    comment, *lines = text.splitlines()
    assert comment.startswith('%')
    assert not [line for line in lines if re.search(r'(?<!\\)[%#]', line)]
    for table in re.findall(r'\\begin\{tabular\}\{(\w+)\}(.*?)\\end', text, re.DOTALL):
        rows = [line for line in table[1].splitlines() if line.endswith('\\\\')]
        assert {len(re.findall(r'(?<!\\)&', row)) + 1 for row in rows} == {len(table[0])}
