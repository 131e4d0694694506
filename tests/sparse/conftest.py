"""Runs of the same case over the engines, and as on a device that must not be waited for."""

import pytest

from gps_seg.sparse import ENGINES, SparseTraining, agreement
from tests.sparse.truth import toy_training


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=['waits', 'does not wait'])
def waiting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What runs on a GPU, which no read inside a step may wait for, runs here on the CPU too."""
    if request.param == 'does not wait':
        monkeypatch.setattr(agreement, 'is_at_hand', lambda tensor: False)
    return request.param


@pytest.fixture
def training(engine: str, waiting: str) -> SparseTraining:
    return toy_training(engine)
