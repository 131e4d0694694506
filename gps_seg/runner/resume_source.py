"""Where a run goes on from, and what it needs from there."""

from pathlib import Path
from typing import Any

from mmengine.dist import barrier
from mmengine.runner import Runner

from gps_seg.files import write_content
from gps_seg.runner.checkpoints import LAST, read_checkpoint


def resume_path(runner: Runner) -> str | None:
    """The checkpoint that the runner is about to resume from, if any."""
    if not runner._resume:
        return None
    return runner._load_from or latest_checkpoint(runner.work_dir)


def latest_checkpoint(folder: str | Path) -> str | None:
    """The checkpoint of a run to go on from, wherever its folder was moved; None without one.

    `last.pth`, else what MMEngine's own CheckpointHook wrote last.
    """
    files = [Path(folder) / LAST]
    # A kill may come between a checkpoint and this file, which names it by its first place.
    pointer = Path(folder) / 'last_checkpoint'
    if pointer.is_file():
        files.append(Path(folder) / Path(pointer.read_text().strip()).name)
    return next((str(file) for file in files if file.is_file()), None)


def bring_along(runner: Runner, name: str, *, instead: str) -> None:
    """Copy a file of the run that is resumed into this work dir, where that is another one.

    instead: a file that does as well. Raises FileNotFoundError, on every rank, where neither folder
    has one of the two.
    """
    folder = Path(runner.work_dir)
    source = Path(resume_path(runner) or folder / name).parent
    places = [place / file for place in (source, folder) for file in (name, instead)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f'{source} lacks {name}, the best epoch so far of the run to resume; put it beside '
            'the checkpoint, or start anew without --resume'
        )
    if runner.rank == 0 and found.parent.resolve() != folder.resolve():
        # Also over what a killed try of the same left here: that is ahead of the checkpoint.
        write_content(folder / name, found.read_bytes())
    barrier()


def saved_tuning(runner: Runner) -> dict[str, Any] | None:
    """The state of the fine-tuning that the runner is about to resume; None for a new one.

    Raises ValueError where the checkpoint holds none.
    """
    path = resume_path(runner)
    if path is None:
        return None
    state = read_checkpoint(path).get('fine_tune')
    if state is None:
        raise ValueError(
            f'{path} holds no fine-tuning state, so training cannot go on from it exactly; '
            'resume from a last.pth that this toolkit wrote, or start anew without --resume'
        )
    return state
