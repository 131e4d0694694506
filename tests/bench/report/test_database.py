import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gps_seg.bench.report.database import read_database, write_database
from gps_seg.bench.report.results import SuiteResults
from gps_seg.bench.report.suite_folder import read_suite_folder
from tests.bench.made_results import MadeSuite, write_cost_suite, write_json
from tests.bench.report.conftest import results_of


def test_everything_comes_back_as_the_files_hold_it(
    whole_folder: Path, whole: SuiteResults
) -> None:
    assert len(whole.cells) == 5 * (2 + 3)
    for cell in whole.cells:
        file = whole_folder / 'cells' / cell.id / 'result.json'
        stored = json.loads(file.read_text())
        splits = {k: v for k, v in stored['scores'].items() if k != 'best_epoch'}
        assert cell.scores == splits
        assert cell.tuned == stored['tuned']
        assert cell.seconds == stored['seconds']
        assert cell.trained == stored.get('trained')
        assert cell.curves == {
            name: [tuple(point) for point in line]
            for name, line in stored.get('curves', {}).items()
        }
        assert cell.folder == str(file.parent)


def test_a_query_of_ones_own_works(whole_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / 'results.sqlite'
    write_database(file, [read_suite_folder(whole_folder)])
    query = (
        'SELECT method, avg(value) FROM cells JOIN scores USING (suite, cell) '
        "WHERE role = 'final' AND split = 'test' AND metric = 'mDice' GROUP BY method"
    )
    with closing(sqlite3.connect(file)) as connection:
        means = dict(connection.execute(query))
        images = connection.execute('SELECT count(*) FROM images').fetchone()[0]
    assert means['full'] == pytest.approx((84.6 + 84.1) / 2, abs=0.01)
    assert images == 5 * 2 * 120 * 2


def test_the_example_of_the_module_runs(whole_folder: Path, tmp_path: Path) -> None:
    from gps_seg.bench.report import database

    file = tmp_path / 'results.sqlite'
    write_database(file, [read_suite_folder(whole_folder)])
    assert database.__doc__ is not None
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute(database.__doc__.split('"')[1]).fetchall()
    assert {label: json.loads(tuned) for label, tuned, _ in rows}['GPS, K = 40'] == {
        'optim_wrapper.optimizer.lr': 3e-3
    }


def test_a_database_is_replaced_whole_and_nothing_is_left_beside_it(
    whole_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / 'results.sqlite'
    file.write_text('an older one')
    write_database(file, [read_suite_folder(whole_folder)])
    assert len(read_database(file)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ['results.sqlite']


def test_suites_keep_their_order(whole_folder: Path, tmp_path: Path) -> None:
    costs = write_cost_suite(tmp_path / 'costs')
    file = tmp_path / 'results.sqlite'
    write_database(file, [read_suite_folder(path) for path in (whole_folder, costs)])
    suites = read_database(file)
    assert [suite.name for suite in suites] == ['kvasir-tiny', 'cost']
    assert suites[1].cells[0].costs['gps']['saved_mib'] == 302.0


def test_two_suites_of_one_name_are_refused(whole_folder: Path, tmp_path: Path) -> None:
    suites = [read_suite_folder(whole_folder)] * 2
    with pytest.raises(ValueError, match='two suites are called kvasir-tiny'):
        write_database(tmp_path / 'results.sqlite', suites)


def test_a_loss_that_is_no_number_stays_one(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'full', 0, curves={'loss': [[1, math.nan], [2, 0.5]]})
    (cell,) = results_of(made.write_suite()).cells
    assert math.isnan(cell.curves['loss'][0][1])
    assert cell.curves['loss'][1] == (2, 0.5)


def test_a_score_that_is_no_number_counts_as_absent(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'full', 0, scores={'test': {'mDice': math.nan, 'mIoU': 50.0}})
    (cell,) = results_of(made.write_suite()).cells
    assert cell.score('test', 'mDice') is None
    assert cell.score('test', 'mIoU') == 50.0


def test_what_is_not_current_is_stale(made: MadeSuite) -> None:
    for seed in (0, 1):
        made.final('kvasir_seg', 'full', seed)
    stale = made.current.pop(0)
    suite = results_of(made.write_suite())
    assert [cell.id for cell in suite.stale] == [stale]
    assert [cell.id for cell in suite.current('final')] == made.current


def test_a_cell_that_failed_is_told_from_one_that_runs(made: MadeSuite) -> None:
    made.start(made.cell('kvasir_seg', 'full', 'final', 0, 1e-3), failures=['boom'])
    made.start(made.cell('kvasir_seg', 'full', 'final', 1, 1e-3))
    folder = made.final('kvasir_seg', 'gps_k10', 0)
    write_json(folder / 'failure-1.json', {'error': 'boom'})
    cells = results_of(made.write_suite()).cells
    states = {(cell.method, cell.seed): cell.state for cell in cells}
    assert states == {('full', 0): 'failed', ('full', 1): 'unfinished', ('gps_k10', 0): 'finished'}
