"""What a training has reached, step by step: a row for each epoch, kept in its checkpoint."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.runner import Runner

from gps_seg.files import write_atomically

HISTORY = 'history'
Row = dict[str, float]


def history_of(runner: Runner) -> list[Row]:
    """The rows so far; a resume goes on from those of its checkpoint."""
    info: dict[str, Any] = runner.message_hub.runtime_info
    return list(info.get(HISTORY, ()))


def remember(runner: Runner, unit: str, row: Row) -> None:
    """Add to the row of its step, or a new row."""
    rows = history_of(runner)
    if rows and rows[-1][unit] == row[unit]:
        rows[-1] = {**rows[-1], **row}
    else:
        rows.append(row)
    runner.message_hub.update_info(HISTORY, rows)


def write_history(path: str | Path, rows: Sequence[Row]) -> None:
    """Write rows as a CSV file; a column for every name, empty where a row has no such value."""
    names = list(dict.fromkeys(name for row in rows for name in row))

    def write(temporary: Path) -> None:
        with temporary.open('w', newline='', encoding='utf-8') as file:
            table = csv.DictWriter(file, names)
            table.writeheader()
            table.writerows(rows)

    write_atomically(path, write)


def time_in_words(seconds: float) -> str:
    """A duration for a log line.

    >>> [time_in_words(seconds) for seconds in (4.2, 89, 3000, 9000)]
    ['4 s', '89 s', '50 min', '2.5 h']
    """
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'
