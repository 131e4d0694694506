"""Processes that die by SIGKILL at a chosen place."""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a training does to names of files: the functions of `os` that the kills are set around.
CALLS = {'rename': 'replace', 'sync': 'fsync', 'make': 'mkdir', 'remove': 'rmdir'}


@dataclass(frozen=True)
class Kill:
    """Where a process dies.

    kind: a key of CALLS, or 'time'.
    at: the number of the call, from 0, or the seconds since the start.
    after: behind the call instead of before it.
    """

    kind: str
    at: float
    after: bool = False


def run_in_a_fork(
    run: Callable[[], None], kill: Kill | None, scratch: Path
) -> tuple[bool, Counter[str]]:
    """Call `run` in a process of its own. Returns whether it finished, and its calls on files.

    kill: where it dies. scratch: a folder for what it prints.

    Raises RuntimeError, with what the process printed, where it fails by itself.
    """
    printed, counted = scratch / 'printed.txt', scratch / 'calls.json'
    assert threading.active_count() == 1  # what forks must have no threads
    child = os.fork()
    if child == 0:
        _be_the_child(run, kill, printed, counted)
    if kill is not None and kill.kind == 'time':
        status = _wait(child, seconds=kill.at)
    else:
        _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False, Counter()
    if status != 0:
        raise RuntimeError(f'the process failed by itself: {printed.read_text()[-4000:]}')
    return True, Counter(json.loads(counted.read_text()))


def _be_the_child(run: Callable[[], None], kill: Kill | None, printed: Path, counted: Path) -> None:
    """Run to the end or to the kill; never returns."""
    status = 1
    try:
        with printed.open('w') as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        calls: Counter[str] = Counter()
        for kind, name in CALLS.items():
            setattr(os, name, _deadly(getattr(os, name), kind, kill, calls))
        run()
        counted.write_text(json.dumps(calls))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _deadly(call: Callable, kind: str, kill: Kill | None, calls: Counter[str]) -> Callable:
    """The function, which counts its calls and dies at the one that `kill` names."""

    def counting(*args: Any, **kwargs: Any) -> Any:
        here = kill is not None and (kill.kind, kill.at) == (kind, calls[kind])
        calls[kind] += 1
        if kill is not None and here and not kill.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*args, **kwargs)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return counting


def _wait(child: int, *, seconds: float) -> int:
    """Wait for a process, and kill it after some seconds. Returns its status."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]
