"""Which process a number in a file stands for, and whether it is still running."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """Host, number and start of this process, for a file that others read."""
    return {'host': socket.gethostname(), 'pid': os.getpid(), 'started': started(os.getpid())}


def is_here(process: Mapping[str, Any]) -> bool:
    """Whether a process that `this_process` described was on this machine."""
    return process.get('host') == socket.gethostname()


def is_running(process: Mapping[str, Any]) -> bool:
    """Whether a process of this machine that `this_process` described is still running."""
    start = started(int(process['pid']))
    return start is not None and start == process.get('started')


def started(pid: int) -> str | None:
    """When a process of this machine started, None for none; pids are used again, times are not."""
    try:
        text = Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return _exists(pid)
    state, *rest = text.rpartition(')')[2].split()
    return None if state in 'ZX' else rest[18]


def _exists(pid: int) -> str | None:
    """Without /proc: whether the process is there, not when it started."""
    if Path('/proc/self/stat').exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 'running'
