"""Which work dir a run may write."""

from pathlib import Path

RESULTS = ('delta.safetensors', 'adapter')
UNFINISHED = tuple(f'best_{name}' for name in RESULTS)
RUN_FILES = ('last.pth', 'last_checkpoint', *RESULTS, *UNFINISHED, 'metrics.json')


def check_work_dir(work_dir: Path, *, resume: bool) -> None:
    """Raise FileExistsError where the folder holds another run and this one is no resume.

    A run that ended before its first checkpoint left nothing to go on from but the delta of an
    epoch that it did not finish; a new run takes its place.
    """
    found = [name for name in RUN_FILES if (work_dir / name).exists()]
    if set(found) - set(UNFINISHED) and not resume:
        raise FileExistsError(
            f'{work_dir} already holds a run ({", ".join(found)}); continue it with --resume, or '
            'choose another folder with --work-dir'
        )
