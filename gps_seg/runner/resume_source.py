"""Where a run goes on from, and what it needs from there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.dist import barrier
from mmengine.runner import Runner

from gps_seg.files import copy_over, load_pickle, write_content
from gps_seg.runner.checkpoints import LAST, read_checkpoint, safe_globals

# What a checkpoint of a fine-tuning holds beside MMEngine's own: its state, and its base.
TUNING = 'fine_tune'
BASE = 'base_weights'


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
    """Copy a file or folder of the run that is resumed into this work dir, if that is another one.

    instead: a file that does as well. Raises FileNotFoundError, on every rank, where neither folder
    has one of the two.
    """
    folder = Path(runner.work_dir)
    source = Path(resume_path(runner) or folder / name).parent
    places = [place / file for place in (source, folder) for file in (name, instead)]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise FileNotFoundError(
            f'{source} lacks {name}, the best epoch so far of the run to resume; put it beside '
            'the checkpoint, or start anew without --resume'
        )
    if runner.rank == 0 and found.parent.resolve() != folder.resolve():
        # Also over what a killed try of the same left here: that is ahead of the checkpoint.
        if found.is_dir():
            copy_over(found, folder / name)
        else:
            write_content(folder / name, found.read_bytes())
    barrier()


@dataclass(frozen=True)
class Source:
    """Where a run starts.

    base: what `load_from` names as base weights, beside those that the model names itself.
    tuning: the state of the fine-tuning to go on with; None for a new one.
    """

    base: str | None
    tuning: dict[str, Any] | None = None


def settle_source(runner: Runner) -> Source:
    """Decide whether `load_from` names base weights or the run to resume, for MMEngine too.

    A config that names its base by `load_from` may be resumed as it is: MMEngine itself would take
    the base for the checkpoint to resume. The base of a run is remembered in its checkpoints.

    Raises ValueError where a resume is asked of a checkpoint without a fine-tuning.
    """
    named = runner._load_from
    if not runner._resume:
        return Source(named)
    checkpoint = None if named is None else _training_checkpoint(named)
    path = latest_checkpoint(runner.work_dir) if checkpoint is None else named
    base = named if checkpoint is None else None
    # MMEngine would search by itself, and perhaps not find what the plan is taken from.
    runner._load_from = path
    if path is None:
        runner.logger.info(f'{runner.work_dir} holds no checkpoint to resume, so training begins')
        runner._resume = False
        return Source(base)
    if checkpoint is None:
        checkpoint = read_checkpoint(path)
    if checkpoint.get(TUNING) is None:
        raise ValueError(
            f'{path} holds no fine-tuning state, so training cannot go on from it exactly; '
            'resume from a last.pth that this toolkit wrote, or start anew without --resume'
        )
    return Source(base or checkpoint.get(BASE), checkpoint[TUNING])


def _training_checkpoint(path: str) -> dict[str, Any] | None:
    """What the checkpoint of a training holds; None for weights alone, or another address."""
    if not Path(path).is_file() or Path(path).suffix == '.safetensors':
        return None
    content = load_pickle(path, safe_globals())
    keys = content.keys() if isinstance(content, dict) else ()
    return content if {TUNING, 'optimizer', 'message_hub'} & set(keys) else None
