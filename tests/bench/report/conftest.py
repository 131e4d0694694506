from pathlib import Path

import pytest

from gps_seg.bench.report.database import read_database, write_database
from gps_seg.bench.report.results import SuiteResults
from gps_seg.bench.report.suite_folder import read_suite_folder
from tests.bench.made_results import MadeSuite, small_sheet


@pytest.fixture
def made(tmp_path: Path) -> MadeSuite:
    """A suite to write, five methods and two seeds."""
    return MadeSuite(tmp_path / 'suite')


@pytest.fixture(scope='session')
def whole_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished suite of five methods, two seeds and three trials each. Not to be changed."""
    folder = tmp_path_factory.mktemp('whole') / 'suite'
    suite = MadeSuite(
        folder, settings={'published': ['table5_sam'], 'notes': ['A & B are <same>.']}
    )
    return suite.write(sheet=small_sheet())


@pytest.fixture(scope='session')
def whole(whole_folder: Path) -> SuiteResults:
    """Its results, through the database."""
    return results_of(whole_folder)


def results_of(folder: Path) -> SuiteResults:
    database = folder.parent / 'results.sqlite'
    write_database(database, [read_suite_folder(folder)])
    (suite,) = read_database(database)
    return suite
