"""How long cells will take: measured on those that ran, before that on two steps of a dry run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gps_seg.bench.board import ESTIMATES, AnyCell, Board
from gps_seg.bench.cells import Cell
from gps_seg.bench.suite import Column
from gps_seg.cli.dry_run import dry_run
from gps_seg.files import write_content
from gps_seg.runner.history import time_in_words

# Evaluation of an image against a training step's share of one: forward alone, at full size.
EVALUATION = 0.5


class Estimates:
    """Seconds by column: of the selection and of an epoch.

    folder: where dry runs leave what they measured, so that they are made once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._epochs: dict[Column, float] = {}
        self._starts: dict[Column, float] = {}

    def measure(self, board: Board, say: Callable[[str], None]) -> None:
        """Dry-run each column that has work left and no estimate. Raises what a dry run does."""
        for cell in {c.column: c for c in board.needed() if board.is_open(c)}.values():
            if not isinstance(cell, Cell) or cell.column in self._epochs or self._read(cell):
                continue
            say(f'Measuring a step of {cell.column} ...')
            estimate = dry_run(cell.config)
            images = estimate.images
            epoch = estimate.step_seconds * estimate.num_steps / cell.epochs
            each = epoch / max(images['train'], 1)
            epoch += EVALUATION * each * images.get('validation', 0)
            self._write(cell, estimate.selection_seconds, epoch)

    def seconds(self, cell: AnyCell) -> float:
        """What a cell will take; 0 for one of which nothing is known."""
        column = cell.column
        return self._starts.get(column, 0.0) + cell.epochs * self._epochs.get(column, 0.0)

    def learn(self, cell: AnyCell, result: dict[str, Any]) -> None:
        """Take the measured time of a finished cell."""
        seconds = result['seconds']
        if isinstance(cell, Cell) and result['num_claims'] == 1:
            self._starts[cell.column] = seconds['selection']
            self._epochs[cell.column] = (seconds['whole'] - seconds['selection']) / cell.epochs

    def left(self, board: Board, num_workers: int) -> str:
        """How long all that is not done takes so many workers, in words."""
        cells = [cell for cell in board.needed() if board.is_open(cell)]
        seconds = sum(map(self.seconds, cells))
        to_come = board.num_to_come()
        for column, num in to_come.items():
            epochs = num * board.suite.epochs
            seconds += num * self._starts.get(column, 0) + epochs * self._epochs.get(column, 0)
        if not cells and not to_come:
            return 'nothing left'
        unknown = {*to_come, *(cell.column for cell in cells)} - self._epochs.keys()
        if unknown and not seconds:
            return 'time left not known'
        words = time_in_words(seconds / num_workers)
        return f'more than {words} left' if unknown else f'about {words} left'

    def _file(self, cell: Cell) -> Path:
        column = cell.column
        return self.folder / ESTIMATES / f'{column.data}--{column.model}--{column.method}.json'

    def _read(self, cell: Cell) -> bool:
        if not self._file(cell).is_file():
            return False
        known = json.loads(self._file(cell).read_text(encoding='utf-8'))
        self._starts[cell.column], self._epochs[cell.column] = known['start'], known['epoch']
        return True

    def _write(self, cell: Cell, start: float, epoch: float) -> None:
        self._starts[cell.column], self._epochs[cell.column] = start, epoch
        content = json.dumps({'start': start, 'epoch': epoch}) + '\n'
        write_content(self._file(cell), content)
