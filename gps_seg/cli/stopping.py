"""How a command ends that is stopped from outside: by Ctrl-C, or by the signal of a cluster."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

INTERRUPTED, TERMINATED = 130, 143  # 128 + the number of the signal, as shells count

_advice: list[Callable[[], str]] = []


class Terminated(SystemExit):
    """The process was told to end (SIGTERM)."""


def advise_on_stop(advice: Callable[[], str]) -> None:
    """Let `advice` say, if this command is stopped from now on, how to go on."""
    _advice.append(advice)


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise Terminated where SIGTERM comes, so that files are put in order as with Ctrl-C.

    At the end the signal and the advice are as they were.
    """
    before, num_advices = signal.getsignal(signal.SIGTERM), len(_advice)
    # Only the main thread may set a signal; a handler of somebody else stays.
    ours = threading.current_thread() is threading.main_thread() and before == signal.SIG_DFL
    if ours:
        process = os.getpid()

        def end(number: int, frame: Any) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if os.getpid() != process:  # a data worker, which inherits this
                os.kill(os.getpid(), signal.SIGTERM)
                return
            raise Terminated(TERMINATED)

        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        del _advice[num_advices:]
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def report_stop(stop: KeyboardInterrupt | Terminated) -> int:
    """Say in one line that the command was stopped and how to go on. Returns the exit code.

    Of several processes, the first one speaks.
    """
    terminated = isinstance(stop, Terminated)
    what = 'terminated' if terminated else 'interrupted'
    if os.environ.get('RANK', '0') == '0':
        print(f'{what}; {_advice[-1]()}' if _advice else what, file=sys.stderr)
    return TERMINATED if terminated else INTERRUPTED
