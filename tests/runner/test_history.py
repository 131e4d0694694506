import csv
import doctest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mmengine.logging import MessageHub

from gps_seg.runner import history
from gps_seg.runner.history import history_of, remember, write_history


def test_the_row_of_a_step_is_added_to_and_another_step_is_a_row_of_its_own(
    tmp_path: Path,
) -> None:
    runner: Any = SimpleNamespace(message_hub=MessageHub('history'))
    assert history_of(runner) == []
    remember(runner, 'epoch', {'epoch': 1, 'loss': 0.5})
    remember(runner, 'epoch', {'epoch': 2, 'loss': 0.4})
    remember(runner, 'epoch', {'epoch': 2, 'mDice': 70.0})
    rows = history_of(runner)
    assert rows == [{'epoch': 1, 'loss': 0.5}, {'epoch': 2, 'loss': 0.4, 'mDice': 70.0}]
    write_history(tmp_path / 'metrics.csv', rows)
    with (tmp_path / 'metrics.csv').open() as file:
        assert list(csv.reader(file)) == [
            ['epoch', 'loss', 'mDice'],
            ['1', '0.5', ''],
            ['2', '0.4', '70.0'],
        ]


def test_the_examples_hold() -> None:
    assert doctest.testmod(history).failed == 0
