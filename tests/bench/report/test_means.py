"""Means over data sets, and published tables over several of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gps_seg.bench.report.markdown import whole as whole_text
from gps_seg.bench.report.published import load_published
from gps_seg.bench.report.sections import section_of
from gps_seg.bench.report.tables import Table
from tests.bench.made_results import MadeSuite, Method
from tests.bench.report.conftest import results_of

DATA = ('cifar', 'svhn', 'eurosat')
MEANS = {
    'mean of 3 tasks': list(DATA),
    'Natural (2)': ['cifar', 'svhn'],
    'Specialized (1)': ['eurosat'],
    'mean of 2 groups': ['Natural (2)', 'Specialized (1)'],
}
SCORES = {
    'gps_k1': {'cifar': (80.0, 82.0), 'svhn': (90.0, 91.0), 'eurosat': (95.0, 97.0)},
    'full': {'cifar': (70.0, 69.0), 'svhn': (85.0, 88.0), 'eurosat': (96.0, 98.0)},
}
PUBLISHED = {
    'name': 'table3_vtab',
    'data': {'cifar': 'CIFAR-100', 'svhn': 'SVHN', 'eurosat': 'EuroSAT'},
}


def made_suite(
    folder: Path, *, without: tuple[str, str, int] | None = None, **settings: Any
) -> Any:
    """Two methods on three data sets in two seeds. without: a run that was not made."""
    methods = {name: Method(name, (0.0, 0.0), 10, 5) for name in SCORES}
    suite = MadeSuite(folder / 'suite', methods, data=DATA, model='vit')
    suite.settings = {
        **{'validation': 'top1', 'tests': ['top1'], 'means': MEANS, 'published': [PUBLISHED]},
        **{'reference': None, 'control': None, 'checkpoint': 'last'},
        **settings,
    }
    for method, scores in SCORES.items():
        for data, of_seeds in scores.items():
            for seed, score in enumerate(of_seeds):
                if (method, data, seed) != without:
                    suite.final(data, method, seed, scores={'test': {'top1': score}})
    return section_of(results_of(suite.write_suite()))


def lines(table: Table) -> dict[tuple[str, ...], dict[str, str]]:
    keys = 2 if table.header[1] == 'whose' else 1
    return {
        tuple(entry.text for entry in row[:keys]): dict(
            zip(table.header, (entry.text for entry in row), strict=True)
        )
        for row in table.rows
    }


def test_every_mean_is_named_and_taken_within_a_seed(tmp_path: Path) -> None:
    (table,) = made_suite(tmp_path).means
    row = lines(table)['gps_k1',]
    by_seed = np.array([SCORES['gps_k1'][data] for data in DATA])
    tasks = by_seed.mean(axis=0)
    groups = np.stack([by_seed[:2].mean(axis=0), by_seed[2]]).mean(axis=0)
    assert row['mean of 3 tasks, %'] == f'{tasks.mean():.2f} ± {tasks.std(ddof=1):.2f}'
    assert row['mean of 2 groups, %'] == f'{groups.mean():.2f} ± {groups.std(ddof=1):.2f}'
    assert row['svhn'] == '90.50 ± 0.71'
    assert [row[0].text for row in table.rows] == ['gps_k1', 'full']


def test_a_mean_without_one_of_its_runs_is_left_empty(tmp_path: Path) -> None:
    section = made_suite(tmp_path, without=('gps_k1', 'svhn', 1))
    (table,) = section.means
    row = lines(table)['gps_k1',]
    assert row['svhn'] == '90.00'
    assert row['mean of 3 tasks, %'] == row['Natural (2), %'] == row['mean of 2 groups, %'] == '–'
    assert row['Specialized (1), %'] == '96.00 ± 1.41'
    assert 'seed 1: not run' in whole_text(section)


def test_published_cells_stand_in_one_table_with_means_computed_from_them(tmp_path: Path) -> None:
    (part,) = made_suite(tmp_path).published
    rows = lines(part.table)
    printed = {
        row['dataset']: float(row['value'])
        for row in load_published('vtab')
        if row['method'] == 'GPS' and row['metric'] == 'top1_%'
    }
    gps = rows['GPS', 'published']
    assert (gps['cifar'], gps['svhn'], gps['eurosat']) == ('81.1', '91.6', '96.2')
    natural = (printed['CIFAR-100'] + printed['SVHN']) / 2
    assert gps['mean of 2 groups, %'] == f'{(natural + printed["EuroSAT"]) / 2:.2f}'
    assert rows['gps_k1', 'ours']['cifar'] == '81.00 ± 1.41'
    places = [key for key in rows if key in (('GPS', 'published'), ('gps_k1', 'ours'))]
    assert places == [('GPS', 'published'), ('gps_k1', 'ours')]
    assert 'computed from their cells' in part.protocol


def test_a_printed_mean_that_its_cells_do_not_give_is_noted(tmp_path: Path) -> None:
    wish = {**PUBLISHED, 'means': {'mean of 3 tasks': 'VTAB-1k mean of 19'}}
    (part,) = made_suite(tmp_path, published=[wish]).published
    gps = lines(part.table)['GPS', 'published']
    assert 'mean of 3 tasks: printed as 75.18' in gps['note']
    assert lines(part.table)['SSF', 'published']['trained %'] == '0.28'


def test_scores_of_the_best_test_epoch_say_so_wherever_they_stand(tmp_path: Path) -> None:
    section = made_suite(tmp_path, checkpoint='best_test')
    text = whole_text(section)
    assert 'best test epoch top1' in section.main[0].header
    assert 'best test epoch top1 %' in section.short[0].header
    assert text.count('% best test epoch top1 (mean') == len(DATA)
    assert 'the test images chose the epoch' in section.published[0].protocol
    assert 'the test images chose nothing' not in text


@pytest.mark.parametrize(
    'tests, heading',
    [
        ({'imagenet-c': 'ImageNet-C'}, 'imagenet-c mCE %'),
        ({'imagenet-a': 'ImageNet-A'}, 'imagenet-a'),
    ],
)
def test_a_further_test_set_stands_beside_the_published_one(
    tmp_path: Path, tests: dict[str, str], heading: str
) -> None:
    suite = MadeSuite(
        tmp_path / 'suite',
        {'gps_k4': Method('GPS, K = 4', (83.0, 84.0), 10, 5)},
        data=('imagenet',),
    )
    wish = {'name': 'table8_robustness', 'data': {'imagenet': 'ImageNet-1K'}, 'tests': tests}
    suite.settings = {'tests': ['top1'], 'published': [wish], 'reference': None, 'control': None}
    (name,) = tests
    for seed in (0, 1):
        scores = {'test': {'top1': 83.0}, f'test:{name}': {'top1': 46.0 + seed, 'mCE': 42.0 + seed}}
        suite.final('imagenet', 'gps_k4', seed, scores=scores)
    (part,) = section_of(results_of(suite.write_suite())).published
    (column,) = [head for head in part.table.header if head.startswith(heading)]
    rows = lines(part.table)
    assert rows['GPS', 'published']['imagenet'] == '83.91'
    expected = ('42.04', '42.50 ± 0.71') if 'mCE' in heading else ('46.11', '46.50 ± 0.71')
    assert (rows['GPS', 'published'][column], rows['GPS, K = 4', 'ours'][column]) == expected
