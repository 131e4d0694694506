"""Where a run goes on from, and what it needs from there."""

from pathlib import Path

from mmengine.dist import barrier
from mmengine.runner import Runner, find_latest_checkpoint

from gps_seg.files import write_content


def resume_path(runner: Runner) -> str | None:
    """The checkpoint that the runner is about to resume from, if any."""
    if not runner._resume:
        return None
    return runner._load_from or find_latest_checkpoint(runner.work_dir)


def bring_along(runner: Runner, name: str, *, instead: str) -> None:
    """Copy a file of the run that is resumed into this work dir, where that is another one.

    instead: a file whose presence here makes it needless. Raises FileNotFoundError, on every rank,
    where neither folder has it.
    """
    folder = Path(runner.work_dir)
    if not any((folder / present).is_file() for present in (name, instead)):
        source = Path(resume_path(runner) or folder / name).parent
        found = [source / file for file in (name, instead) if (source / file).is_file()]
        if not found:
            raise FileNotFoundError(
                f'{source} lacks {name}, the best epoch so far of the run to resume; put it beside '
                'the checkpoint, or start anew without --resume'
            )
        if runner.rank == 0:
            write_content(folder / name, found[0].read_bytes())
    barrier()
