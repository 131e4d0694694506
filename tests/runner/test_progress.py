"""What a selection pass shows while it runs, on a terminal and in a log."""

import io
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from mmengine.logging import MMLogger
from rich.console import Console

from gps_seg.runner.progress import ProgressBar, ProgressLog, pass_progress


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged, line by line."""
    logged: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.append(record.getMessage())

    logger, handler = MMLogger.get_current_instance(), Keep()
    logger.addHandler(handler)
    yield logged
    logger.removeHandler(handler)


def test_the_log_has_the_last_batch_and_every_agreement(lines: list[str]) -> None:
    progress = ProgressLog(3)
    for done in (1, 2, 3):
        progress(done, 0.5)
        if done == 2:
            progress.agreement(0.97654)
    progress.close()
    assert lines == [
        'Selection [2/3 batches]  agreement with the selection before: 0.9765',
        'Selection [3/3 batches]  loss: 0.5000  time left: 0 s',
    ]


def test_a_terminal_shows_a_bar_and_the_log_lines_whole(lines: list[str]) -> None:
    screen = io.StringIO()
    progress = ProgressBar(3, console=Console(file=screen, force_terminal=True, width=100))
    for done in (1, 2, 3):
        progress(done, 0.25)
        progress.bar.refresh()
        if done == 2:
            progress.agreement(0.5)
            assert progress.bar.live.is_started  # the bar goes on after the line
    progress.close()
    assert not progress.bar.live.is_started
    shown = re.sub(r'\x1b\[[^a-zA-Z]*[a-zA-Z]', '', screen.getvalue())  # without its colours
    assert '2/3 batches, loss 0.2500, time left' in shown
    assert [line.split('  ')[0] for line in lines] == [
        'Selection [2/3 batches]',
        'Selection [3/3 batches]',
    ]


def test_a_bar_that_is_left_early_is_taken_away() -> None:
    progress = ProgressBar(9, console=Console(file=io.StringIO(), force_terminal=True))
    progress(1, 0.5)
    progress.close()
    assert not progress.bar.live.is_started


@pytest.mark.parametrize('terminal, kind', [(True, ProgressBar), (False, ProgressLog)])
def test_only_a_terminal_gets_a_bar(
    terminal: bool, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: terminal, raising=False)
    progress = pass_progress(2)
    progress.close()
    assert type(progress) is kind
