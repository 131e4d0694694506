"""Reading ahead of the model and writing behind it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')


@contextmanager
def pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that, after an error, finish what they are at and begin nothing more."""
    threads = ThreadPoolExecutor(workers)
    try:
        yield threads
    except BaseException:
        threads.shutdown(cancel_futures=True)
        raise
    threads.shutdown()


def read_ahead(
    threads: ThreadPoolExecutor,
    read: Callable[[Item], Result],
    items: Iterable[Item],
    limit: int,
) -> Iterator[tuple[Item, 'Future[Result]']]:
    """The items in their order, each with its reading; at most `limit` is under way or waiting."""
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    for item in items:
        waiting.append((item, threads.submit(read, item)))
        if len(waiting) > limit:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


class Behind(Generic[Item, Result]):
    """Work that follows, at most `limit` at a time; its results are kept in the order of adding."""

    def __init__(
        self, threads: ThreadPoolExecutor, keep: Callable[[Item, Result], None], *, limit: int
    ) -> None:
        self.threads = threads
        self.keep = keep
        self.limit = limit
        self.waiting: deque[tuple[Item, Future[Result]]] = deque()

    def add(self, item: Item, work: Callable[..., Result], *arguments: object) -> None:
        """Begin something; where too much is under way, wait for the oldest first."""
        self.waiting.append((item, self.threads.submit(work, *arguments)))
        while len(self.waiting) > self.limit:
            self._take()

    def finish(self) -> None:
        """Wait for the rest."""
        while self.waiting:
            self._take()

    def _take(self) -> None:
        item, future = self.waiting.popleft()
        self.keep(item, future.result())
