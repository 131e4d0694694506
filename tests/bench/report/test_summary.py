import numpy as np
import pytest

from gps_seg.bench.report.results import SuiteResults
from gps_seg.bench.report.summary import first_line, summarise
from tests.bench.made_results import METHODS, TOTAL, MadeSuite, write_cost_suite
from tests.bench.report.conftest import results_of


def test_rows_are_sorted_by_the_mean_over_seeds(whole: SuiteResults) -> None:
    (group,) = summarise(whole)
    means = {name: np.mean(method.dice) for name, method in METHODS.items()}
    assert [row.method for row in group.rows] == sorted(means, key=lambda name: -means[name])
    for row in group.rows:
        dice = METHODS[row.method].dice
        assert row.test is not None
        assert row.test.mean == pytest.approx(np.mean(dice), abs=1e-2)
        assert row.test.deviation == pytest.approx(np.std(dice, ddof=1), abs=1e-2)
        assert row.share == pytest.approx(100 * METHODS[row.method].trained / TOTAL)
        assert row.seconds == pytest.approx(METHODS[row.method].seconds + 5)
    assert group.best is group.rows[0]


def test_ties_with_the_best_are_found(whole: SuiteResults) -> None:
    (group,) = summarise(whole)
    assert [row.method for row in group.tied_with_best] == ['gps_k40']
    verdicts = {method: c.verdict for method, c in group.against_control.items()}
    assert verdicts == {
        'full': 'difference',
        'gps_k40': 'difference',
        'gps_k10': 'tie',
        'linear': 'difference',
    }


def test_a_method_without_all_its_seeds_does_not_win(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'full', 0)
    for seed in (0, 1):
        made.final('kvasir_seg', 'gps_k10', seed)
    (group,) = summarise(results_of(made.write_suite()))
    assert [row.method for row in group.scored] == ['full', 'gps_k10']
    assert group.best is group.row('gps_k10')
    full = group.row('full')
    assert full is not None
    assert full.missing == ('seed 1: not run',)
    assert group.tied_with_best == []


def test_what_is_lacking_is_named_with_its_reason(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'full', 0, scores={'validation': {'mDice': 80.0}})
    made.start(made.cell('kvasir_seg', 'full', 'final', 1, 1e-3))
    error = 'Traceback (most recent call last):\n  File "x.py"\nMemoryError: all gone\n'
    made.start(made.cell('kvasir_seg', 'linear', 'final', 0, 1e-3), failures=['first', error])
    (group,) = summarise(results_of(made.write_suite()))
    missing = {row.method: row.missing for row in group.rows}
    assert missing['full'] == (
        'seed 0: its result has no mDice of the test images',
        'seed 1: not finished',
    )
    assert missing['linear'] == (
        'seed 0: failed twice (MemoryError: all gone)',
        'seed 1: not run',
    )
    assert group.best is None
    assert group.scored == []


def test_a_stale_result_is_in_no_row(made: MadeSuite) -> None:
    for seed in (0, 1):
        made.final('kvasir_seg', 'full', seed)
    made.current.pop()
    (group,) = summarise(results_of(made.write_suite()))
    row = group.row('full')
    assert row is not None
    assert [cell.seed for cell in row.finals] == [0]


def test_two_results_in_one_place_are_an_error(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'full', 0)
    twin = made.cell('kvasir_seg', 'full', 'final', 0, 0.5)
    made.finish(twin, scores={'test': {'mDice': 1.0}})
    with pytest.raises(ValueError, match='two results of full, seed 0'):
        summarise(results_of(made.write_suite()))


def test_every_data_set_has_its_own_winner(made: MadeSuite) -> None:
    made.data = ('kvasir_seg', 'other')
    made.write(trials=False)
    groups = summarise(results_of(made.folder))
    assert [group.data for group in groups] == ['kvasir_seg', 'other']
    assert all(group.best is not None for group in groups)


def test_a_cost_suite_has_no_rows_of_scores(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = write_cost_suite(tmp_path_factory.mktemp('cost') / 'suite')
    assert summarise(results_of(folder)) == []


def test_an_error_is_shortened_to_its_telling_line() -> None:
    assert (
        first_line('Traceback (most recent call last):\n x\nValueError: no\n\n') == 'ValueError: no'
    )
    assert first_line('ValueError: no\nsecond') == 'ValueError: no'
    assert first_line('') == 'no message'
    assert first_line('e' * 300) == 'e' * 159 + '…'
