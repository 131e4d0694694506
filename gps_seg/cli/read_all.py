"""Reading many images in several processes."""

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import cv2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gps_seg.datasets.checks import Job, Record, examine

FEW = 64  # images that one process reads sooner than others start


def read_all(
    jobs: Sequence[Job],
    workers: int | None = None,
    examine: Callable[[Job], Record] = examine,
) -> list[Record]:
    """The records of all jobs, read in parallel, with a progress bar on a terminal."""
    workers = workers if workers is not None else os.cpu_count() or 1
    columns = (TextColumn('reading'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task('reading', total=len(jobs))
        records = []
        for record in _records(jobs, workers, examine):
            records.append(record)
            progress.advance(task)
    return records


def _records(
    jobs: Sequence[Job], workers: int, examine: Callable[[Job], Record]
) -> Iterable[Record]:
    if workers < 2 or len(jobs) < FEW:
        yield from map(examine, jobs)
        return
    # Forked where that is possible: a started process imports MMSegmentation for seconds.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context('fork' if 'fork' in methods else 'spawn')
    chunk = max(1, min(16, len(jobs) // (4 * workers)))
    try:
        with warnings.catch_warnings():
            # No other thread of this process holds a lock that a reader takes.
            warnings.filterwarnings('ignore', 'This process .* is multi-threaded')
            pool = ProcessPoolExecutor(workers, context, initializer=_one_thread)
            results = pool.map(examine, jobs, chunksize=chunk)
        with pool:
            yield from results
    except BrokenProcessPool as error:
        raise ValueError(
            'a process that read images died, for lack of memory or by a broken file; run it '
            'again with --workers 1 to see at which file'
        ) from error


def _one_thread() -> None:
    cv2.setNumThreads(0)
