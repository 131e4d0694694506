"""How a command ends that is stopped from outside: by Ctrl-C, or by the signal of a cluster."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

INTERRUPTED, TERMINATED = 130, 143  # 128 + the number of the signal, as shells count
CONNECTION_LOST = (BrokenPipeError, ConnectionResetError, EOFError)

_advice: list[Callable[[], str]] = []


class Terminated(SystemExit):
    """The process was told to end (SIGTERM)."""


def advise_on_stop(advice: Callable[[], str]) -> None:
    """Let `advice` say, if this command is stopped from now on, how to go on."""
    _advice.append(advice)


@dataclass
class Stop:
    """What stopped a command, once something did."""

    cause: KeyboardInterrupt | Terminated | None = None


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Raise Terminated where SIGTERM comes, so that files are put in order as with Ctrl-C.

    The object that it gives remembers what was raised: code that catches everything may raise
    something else in its place. At the end the signals and the advice are as they were.
    """
    stop, num_advices = Stop(), len(_advice)
    process, hook = os.getpid(), sys.excepthook

    def end(number: int, frame: Any) -> None:
        signal.signal(number, usual[number])
        if os.getpid() != process:  # a data worker, which inherits this
            os.kill(os.getpid(), number)
            return
        stop.cause = Terminated(TERMINATED) if number == signal.SIGTERM else KeyboardInterrupt()
        raise stop.cause

    def show(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        # A data worker (a fork) that hands over a tensor while this process ends.
        if os.getpid() == process or not isinstance(error, CONNECTION_LOST):
            hook(kind, error, trace)

    usual: dict[int, Any] = {
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGINT: signal.default_int_handler,
    }
    # Only the main thread may set a signal; a handler of somebody else stays.
    in_main_thread = threading.current_thread() is threading.main_thread()
    ours = [n for n, handler in usual.items() if in_main_thread and signal.getsignal(n) == handler]
    for number in ours:
        signal.signal(number, end)
    sys.excepthook = show
    try:
        yield stop
    finally:
        del _advice[num_advices:]
        if sys.excepthook is show:
            sys.excepthook = hook
        for number in ours:
            signal.signal(number, usual[number])


def report_stop(stop: KeyboardInterrupt | Terminated) -> int:
    """Say in one line that the command was stopped and how to go on. Returns the exit code.

    Of several processes, the first one speaks.
    """
    terminated = isinstance(stop, Terminated)
    what = 'terminated' if terminated else 'interrupted'
    if os.environ.get('RANK', '0') == '0':
        print(f'{what}; {_advice[-1]()}' if _advice else what, file=sys.stderr)
    return TERMINATED if terminated else INTERRUPTED
