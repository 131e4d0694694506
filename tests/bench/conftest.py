"""The small suite, written once."""

import pytest

from gps_seg.bench.suite import Suite
from tests.bench.toy_suite import toy_suite


@pytest.fixture(scope='session')
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return toy_suite(tmp_path_factory.mktemp('toy'))
