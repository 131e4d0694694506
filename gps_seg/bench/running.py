"""Runs the cells of a suite on this machine: a few workers, each a cell at a time."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gps_seg.bench.board import RESULT, AnyCell, Board, write_summary
from gps_seg.bench.cells import Cell
from gps_seg.bench.claims import BEAT, Claim, claim, write_once
from gps_seg.bench.estimates import Estimates
from gps_seg.bench.suite import Column
from gps_seg.files import num_bytes, write_content
from gps_seg.runner.history import time_in_words

LOG = 'log.txt'
# How long a worker without anything to do waits before it looks again. Seconds.
PAUSE = 2.0
TAIL = 2000

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What a call did. done, failed: cells that this call ended."""

    done: list[AnyCell] = field(default_factory=list)
    failed: list[AnyCell] = field(default_factory=list)


@dataclass
class Workers:
    """Threads that run cells in processes of their own.

    num: how many cells run at once. threads: of each process; by default the cores are shared. On
    a machine with GPUs each worker has the next one.
    """

    board: Board
    estimates: Estimates
    say: Say
    num: int = 1
    threads: int | None = None
    num_gpus: int = 0
    outcome: Outcome = field(default_factory=Outcome)
    _busy: dict[int, Column] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _errors: list[BaseException] = field(default_factory=list)

    def run(self) -> Outcome:
        """Run cells until none is left that this or another process could run.

        An interruption (Ctrl-C) ends the running cells; they go on from their last checkpoint the
        next time.
        """
        threads = [threading.Thread(target=self._loop, args=(n,)) for n in range(self.num)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(timeout=0.2)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if self._errors:
            raise self._errors[0]
        return self.outcome

    def _loop(self, number: int) -> None:
        try:
            while not self._stop.is_set():
                with self._lock:
                    self.board.refresh()
                    self._busy.pop(number, None)
                    taken = self._take()
                    if taken is not None:
                        self._busy[number] = taken[0].column
                    busy = taken is None and self._others_work()
                if taken is not None:
                    self._run(number, *taken)
                elif busy:
                    self._stop.wait(PAUSE)
                else:
                    return
        except BaseException as error:
            self._errors.append(error)
            self._stop.set()

    def _take(self) -> tuple[AnyCell, Claim] | None:
        """Claim a cell that nobody works on, the cheapest first.

        Columns that are worked on here come last: their cells will share the plan that is made.
        """

        def order(cell: AnyCell) -> tuple[bool, float, str]:
            return cell.column in self._busy.values(), self.estimates.seconds(cell), cell.id

        for cell in sorted(self.board.todo(), key=order):
            mine = claim(self.board.place(cell))
            # Another process may have finished it just before it was claimed.
            if mine is not None and self.board.is_open(cell):
                return cell, mine
            if mine is not None:
                mine.release()
        return None

    def _others_work(self) -> bool:
        """Whether cells are still being run, here or elsewhere, on which others may depend."""
        return any(self.board.is_open(cell) for cell in self.board.needed())

    def _run(self, number: int, cell: AnyCell, mine: Claim) -> None:
        folder = self.board.place(cell)
        prepare(cell, self.board)
        start, said = time.monotonic(), num_bytes(folder / LOG)
        code = self._wait(self._start(number, folder), mine)
        with self._lock:
            result = self.board.result(cell)
            if result is not None:
                self.outcome.done.append(cell)
                self.estimates.learn(cell, result)
                self._report(cell, result, time.monotonic() - start)
            elif not self._stop.is_set() and mine.holds():
                self._fail(cell, code, said)
            mine.release()
            self.board.refresh()
            write_summary(self.board)

    def _start(self, number: int, folder: Path) -> subprocess.Popen:
        threads = self.threads or max((os.cpu_count() or 1) // self.num, 1)
        environment = {**os.environ, 'OMP_NUM_THREADS': str(threads)}
        if self.num_gpus:
            environment['CUDA_VISIBLE_DEVICES'] = str(number % self.num_gpus)
        with (folder / LOG).open('ab') as log:
            return subprocess.Popen(
                [sys.executable, '-m', 'gps_seg.bench.work', str(folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def _wait(self, process: subprocess.Popen, mine: Claim) -> int:
        beat = time.monotonic()
        with process:  # leaving it closes its standard input, which ends it
            while process.poll() is None:
                if self._stop.wait(0.2):
                    break
                if time.monotonic() - beat > BEAT:
                    mine.beat()
                    beat = time.monotonic()
        return process.returncode

    def _fail(self, cell: AnyCell, code: int, said: int) -> None:
        """said: the bytes of the log that are of earlier attempts."""
        folder = self.board.place(cell)
        number = len(self.board.failures(cell)) + 1
        if code < 0:
            error = f'the process was killed by {_signal(-code)} (out of memory?)'
        else:
            error = last_error(folder / LOG, said) or f'the process ended with code {code}'
        write_once(
            folder / f'failure-{number}.json',
            {'error': error, 'code': code, 'when': time.strftime('%Y-%m-%dT%H:%M:%S%z')},
        )
        again = number < self.board.attempts
        self.say(f'{cell} crashed: {error}' + ('; it is tried once more' if again else ''))
        if not again:
            self.outcome.failed.append(cell)

    def _report(self, cell: AnyCell, result: dict[str, Any], seconds: float) -> None:
        suite = self.board.suite
        needed = self.board.needed()
        done = sum(self.board.result(c) is not None for c in needed)
        total = len(needed) + sum(self.board.num_to_come().values())
        value = result.get('scores', {}).get('validation', {}).get(suite.validation)
        score = '' if value is None else f': {suite.validation} {value:.2f} on validation'
        left = self.estimates.left(self.board, self.num)
        self.say(f'[{done}/{total}] {cell}{score}, {time_in_words(seconds)}; {left}')


def prepare(cell: AnyCell, board: Board) -> None:
    """Write what the process of a cell reads, unless it is there."""
    folder = board.place(cell)
    suite = board.suite
    if (folder / 'cell.json').is_file():
        return
    about = cell.describe()
    if isinstance(cell, Cell):
        tests = suite.data[cell.column.data].get('tests', {})
        about |= {'validation': suite.validation, 'tests': tests}
        write_content(folder / 'config.py', cell.config.pretty_text)
    write_content(folder / 'cell.json', json.dumps(about, indent=2) + '\n')


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f'signal {number}'


def last_error(log: Path, start: int = 0) -> str | None:
    """The last line of a log that names an error; start: the byte to look from."""
    if not log.is_file():
        return None
    lines = log.read_bytes()[start:][-20_000:].decode(errors='replace').splitlines()
    named = [line.strip() for line in lines if 'Error' in line.partition(':')[0]]
    return named[-1][:TAIL] if named else None


def reset(board: Board) -> int:
    """Let cells that failed be tried again. Returns how many."""
    num = 0
    for cell in board.needed():
        if not board.is_open(cell) and board.result(cell) is None:
            for path in board.place(cell).glob('failure-*.json'):
                path.unlink()
            num += 1
    return num


__all__ = ['RESULT', 'Outcome', 'Workers', 'last_error', 'prepare', 'reset']
