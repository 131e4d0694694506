"""A data root of the test's own, and what a data set says."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.logging import MMLogger

from gps_seg.datasets import ImageClassDataset


@pytest.fixture(autouse=True)
def data_root(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Make the test's own folder the data root, but for tests on real data."""
    if request.node.get_closest_marker('real_data') is None:
        monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path))
    return tmp_path


@pytest.fixture
def warnings_of(caplog: pytest.LogCaptureFixture) -> Callable[[Callable[[], Any]], list[str]]:
    """A function that gives what a call warns of through the log."""

    def collect(call: Callable[[], Any]) -> list[str]:
        logger = MMLogger.get_current_instance()
        logger.addHandler(caplog.handler)
        caplog.clear()
        try:
            call()
        finally:
            logger.removeHandler(caplog.handler)
        return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]

    return collect


@pytest.fixture
def pairs() -> Callable[[ImageClassDataset], list[tuple[str, int]]]:
    """A function that gives the images and labels of a data set."""

    def listed(dataset: ImageClassDataset) -> list[tuple[str, int]]:
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        return [(info['img_path'], info['gt_label']) for info in infos]

    return listed
