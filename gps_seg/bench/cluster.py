"""Runs a suite on a cluster: each job is a worker that takes cells until none is left."""

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CLUSTERS = ('slurm', 'local')


def submit(
    argv: Sequence[str], folder: Path, *, cluster: str, jobs: int, options: dict[str, Any]
) -> list[Any]:
    """Submit workers through submitit, as one array where the cluster has arrays.

    argv: the command line of `gps-seg bench` that each worker runs. folder: of the suite's results,
    which all jobs must see; logs go to submitit/ in it. options: of submitit's executor, such as
    slurm_partition, timeout_min, gpus_per_node.

    Returns submitit's jobs. Raises ImportError that names the extra, ValueError for an option that
    submitit does not know.
    """
    try:
        import submitit
    except ImportError as error:
        raise ImportError("a cluster needs submitit: pip install 'gps-seg[bench]'") from error
    executor = submitit.AutoExecutor(folder=folder / 'submitit', cluster=cluster)
    try:
        executor.update_parameters(name='gps-seg-bench', **options)
    except (NameError, TypeError) as error:
        raise ValueError(f'--cluster-options: {error}') from error
    with executor.batch():
        submitted = [executor.submit(work, list(argv)) for _ in range(jobs)]
    return submitted


def work(argv: list[str]) -> int:
    """What a job does."""
    from gps_seg.bench.command import main

    return main(argv)


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """`timeout_min=600` and the like as values. Raises ValueError for a text without `=`."""
    options = {}
    for text in texts:
        key, equals, value = text.partition('=')
        if not equals:
            raise ValueError(f'--cluster-options takes KEY=VALUE, not {text!r}')
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
    return options
