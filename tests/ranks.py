"""Run a script in several processes that talk to each other."""

import subprocess
import sys
from pathlib import Path


def run_on_ranks(script: Path, *arguments: str | Path, num: int = 2) -> str:
    """Start a script under torchrun, on the CPU. Returns what it printed; fails where it fails."""
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    command += [f'--nproc_per_node={num}', str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout
