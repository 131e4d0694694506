"""How far the selection pass is: a bar on a terminal, lines in a log."""

import sys
import time

from mmengine.dist import get_rank
from mmengine.logging import MMLogger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gps_seg.tuning import PassProgress


class ProgressLog:
    """Logs the selection pass with the time left, at most every few seconds.

    num_batches: of all ranks together; the other ranks are taken to be as far as this one.
    """

    def __init__(self, num_batches: int, *, num_ranks: int = 1, every_seconds: float = 10) -> None:
        self.num_batches = num_batches
        self.num_ranks = num_ranks
        self.every_seconds = every_seconds
        self.done = 0
        self.start = self.last = time.monotonic()

    def __call__(self, done: int, loss: float | None) -> None:
        self.done = done = min(done * self.num_ranks, self.num_batches)
        now = time.monotonic()
        if now - self.last < self.every_seconds and done != self.num_batches:
            return
        self.last = now
        left = (now - self.start) / done * (self.num_batches - done)
        shown = '' if loss is None else f'loss: {loss:.4f}  '
        self._log(f'{shown}time left: {left:.0f} s')

    def agreement(self, value: float) -> None:
        self._log(f'agreement with the selection before: {value:.4f}')

    def _log(self, text: str) -> None:
        MMLogger.get_current_instance().info(
            f'Selection [{self.done}/{self.num_batches} batches]  {text}'
        )

    def close(self) -> None:
        """Nothing to end: every line stands for itself."""


class ProgressBar(ProgressLog):
    """Shows a bar with the time left while the pass runs, and logs as few lines as needed."""

    def __init__(
        self, num_batches: int, *, num_ranks: int = 1, console: Console | None = None
    ) -> None:
        # Only the last batch is logged: in between the bar tells more.
        super().__init__(num_batches, num_ranks=num_ranks, every_seconds=float('inf'))
        self.bar = Progress(
            TextColumn('Selection'),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn('batches, {task.fields[about]}time left'),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.task = self.bar.add_task('', total=num_batches, about='')
        self.bar.start()

    def __call__(self, done: int, loss: float | None) -> None:
        about = '' if loss is None else f'loss {loss:.4f}, '
        self.bar.update(self.task, completed=done * self.num_ranks, about=about)
        super().__call__(done, loss)

    def _log(self, text: str) -> None:
        # The logger writes to the terminal by itself: the bar steps aside, or the line breaks it.
        self.bar.stop()
        super()._log(text)
        if self.done < self.num_batches:
            self.bar.start()

    def close(self) -> None:
        self.bar.stop()


def pass_progress(num_batches: int, *, num_ranks: int = 1) -> PassProgress:
    """A bar where somebody watches (a terminal, first rank), log lines elsewhere."""
    watched = sys.stdout.isatty() and get_rank() == 0
    report = ProgressBar if watched else ProgressLog
    return report(num_batches, num_ranks=num_ranks)
