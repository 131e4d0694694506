"""`gps-seg check`: read every image and mask, and list all that is wrong with them."""

import argparse
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.cli.configs import add_config, load_config
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.folder_options import add_folder, data_of, name_patterns
from gps_seg.cli.tables import show, table
from gps_seg.datasets.checks import (
    Job,
    Record,
    Survey,
    Totals,
    class_counts,
    class_findings,
    duplicate_findings,
    examine,
    examine_image,
    examine_pixels,
    find_class_images,
    find_jobs,
    overlap_findings,
    record_findings,
    totals_of,
    write_class_page,
    write_page,
)
from gps_seg.datasets.findings import Finding
from gps_seg.runner.config_keys import check_config_keys

KINDS = ('MaskFolderDataset', 'ImageClassDataset')
FEW = 64  # pairs that one process reads sooner than others start
MANY_CLASSES, FEW_CLASSES = 50, 10
LOADERS = ('train', 'val', 'test')
LEVELS = ('error', 'warning', 'note')


def datasets_of(config: Config) -> dict[str, Mapping[str, Any]]:
    """The data sets of a config by their parts. Raises ValueError where they are not ours."""
    found: dict[str, Mapping[str, Any]] = {}
    for part in LOADERS:
        dataset = (config.get(f'{part}_dataloader') or {}).get('dataset')
        if dataset is None:
            continue
        if dataset.get('type') not in KINDS:
            raise ValueError(
                f'{part}_dataloader.dataset is a {dataset.get("type")}; check reads folders of '
                'images and masks (gps-seg check --images DIR --masks DIR) and data sets of images '
                f'with labels: {", ".join(KINDS)}'
            )
        found[part] = dataset
    if not found:
        raise ValueError('the config has no train_dataloader, val_dataloader or test_dataloader')
    kinds = {dataset['type'] for dataset in found.values()}
    if len(kinds) > 1:
        raise ValueError(
            f'the data sets of the config are of two kinds: {", ".join(sorted(kinds))}'
        )
    return found


def run_check(
    survey: Survey, *, allow_overlap: bool = False, workers: int | None = None
) -> tuple[list[Finding], list[Record]]:
    """Read every pair. Returns all findings, errors first, and the records of the pairs."""
    records = read_all(survey.jobs, workers)
    findings = [
        *survey.findings,
        *overlap_findings(survey, allow=allow_overlap),
        *record_findings(records),
        *duplicate_findings(records, allow=allow_overlap),
    ]
    return in_order(findings), records


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Findings with the errors first."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def read_all(
    jobs: Sequence[Job],
    workers: int | None = None,
    examine: Callable[[Job], Record] = examine,
) -> list[Record]:
    """The records of all jobs, read in parallel, with a progress bar on a terminal."""
    workers = workers if workers is not None else os.cpu_count() or 1
    columns = (TextColumn('reading'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task('reading', total=len(jobs))
        records = []
        for record in _records(jobs, workers, examine):
            records.append(record)
            progress.advance(task)
    return records


def _records(
    jobs: Sequence[Job], workers: int, examine: Callable[[Job], Record]
) -> Iterable[Record]:
    if workers < 2 or len(jobs) < FEW:
        yield from map(examine, jobs)
        return
    # Forked where that is possible: a started process imports MMSegmentation for seconds.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context('fork' if 'fork' in methods else 'spawn')
    chunk = max(1, min(16, len(jobs) // (4 * workers)))
    try:
        with warnings.catch_warnings():
            # No other thread of this process holds a lock that a reader takes.
            warnings.filterwarnings('ignore', 'This process .* is multi-threaded')
            pool = ProcessPoolExecutor(workers, context, initializer=_one_thread)
            results = pool.map(examine, jobs, chunksize=chunk)
        with pool:
            yield from results
    except BrokenProcessPool as error:
        raise ValueError(
            'a process that read images died, for lack of memory or by a broken file; run it '
            'again with --workers 1 to see at which file'
        ) from error


def _one_thread() -> None:
    cv2.setNumThreads(0)


def print_finding(finding: Finding) -> None:
    """Print one finding and its fix."""
    print(f'{finding.level:9}{finding.text}')
    if finding.fix:
        print(f'{"":9}-> {finding.fix}')


def report(findings: Sequence[Finding], totals: Totals, num_pairs: int) -> None:
    """Print the findings with their fixes, and what the data hold."""
    for finding in findings:
        print_finding(finding)
    parts = ', '.join(f'{part} {count}' for part, count in totals.images.items() if count)
    print(f'{num_pairs} pairs of image and mask{f" ({parts})" if parts else ""}')
    if any(totals.pixels):
        rows = [
            (name, f'{100 * pixels / sum(totals.pixels):.2f} %', str(present))
            for name, pixels, present in zip(
                totals.classes, totals.pixels, totals.present, strict=True
            )
        ]
        show(table(('class', 'of all pixels', 'masks'), rows))
    if totals.sides:
        low, middle = np.percentile(totals.sides, [5, 50])
        print(
            f'{len(totals.sides)} objects; the shorter sides of their boxes, in pixels of the '
            f"model's input: median {middle:.3g}, smallest twentieth below {low:.2g}"
        )
    if totals.values:
        values = ', '.join(f'{value} ({count:,})' for value, count in totals.values[:12])
        more = f' and {len(totals.values) - 12} more' if len(totals.values) > 12 else ''
        print(f'values of the masks (pixels): {values}{more}')


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='gps-seg check',
        description='Read every image, and every mask, of a config or of two folders, and list all '
        'that is wrong with them. Exits with 1 where there are errors.',
    )
    add_config(parser, example='data.ignore=255', optional=True)
    add_folder(parser)
    parser.add_argument('--html', type=Path, metavar='FILE', help='also write a page with pictures')
    parser.add_argument(
        '--allow-overlap',
        action='store_true',
        help='images that stand in test and in train are a warning',
    )
    parser.add_argument(
        '--near-duplicates',
        action='store_true',
        help='of images with labels, also find nearly equal ones (those with masks always are)',
    )
    parser.add_argument(
        '--workers', type=int, metavar='N', help='processes that read (default: all cores)'
    )
    arguments = parser.parse_args(argv)
    if (arguments.config is None) == (arguments.images is None):
        parser.error('give either a config, or --images and --masks, or --images of class folders')
    return arguments


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `gps-seg check` and tools/check.py."""
    arguments = parse_arguments(argv)
    if arguments.config is not None:
        title = str(arguments.config)
        config = load_config(arguments.config, arguments.cfg_options)
        check_config_keys(config)
        datasets = datasets_of(config)
        if next(iter(datasets.values()))['type'] == 'ImageClassDataset':
            return check_classes(title, datasets, arguments)
        survey = find_jobs(datasets)
    elif arguments.masks is None:
        return check_classes(arguments.images[0], class_folders(arguments), arguments)
    else:
        data = name_patterns({**data_of(arguments), **_data_options(arguments.cfg_options)})
        title = f'{arguments.images[0]}, {arguments.masks[0]}'
        survey = find_jobs({part: {'data': data, 'split': part} for part in LOADERS})
    findings, records = run_check(
        survey, allow_overlap=arguments.allow_overlap, workers=arguments.workers
    )
    totals = totals_of(records)
    report(findings, totals, len(records))
    if arguments.html is not None:
        write_page(arguments.html, title, findings, records, totals)
        print(f'Page: {arguments.html}')
    return exit_code(findings)


def class_folders(arguments: argparse.Namespace) -> dict[str, Mapping[str, Any]]:
    """The data sets of `--images DIR`, a folder of class folders, as training takes it.

    Raises ValueError for what goes with masks.
    """
    if len(arguments.images) > 1 or arguments.classes is not None or arguments.cfg_options:
        raise ValueError(
            'without --masks, --images names one folder that has a folder of images for each '
            'class; --classes and --cfg-options go with masks'
        )
    root = Path(os.path.abspath(os.path.expanduser(arguments.images[0])))
    if root.is_dir() and not any(path.is_dir() for path in root.iterdir()):
        raise ValueError(
            '--masks is missing; give both: --images DIR --masks DIR, or --images alone for a '
            'folder with a folder of images for each class'
        )
    data: dict[str, Any] = {'root': str(root)}
    if arguments.group is not None:
        data['group'] = arguments.group
    return {
        part: {'type': 'ImageClassDataset', 'data': data, 'split': part, 'lazy_init': True}
        for part in LOADERS
    }


def check_classes(
    title: str, datasets: Mapping[str, Mapping[str, Any]], arguments: argparse.Namespace
) -> int:
    """Check images that have labels and no masks. Returns the exit code."""
    survey = find_class_images(datasets)
    records = [
        *read_all(survey.files, arguments.workers, examine_image),
        *(examine_pixels(job, pixels()) for job, pixels in survey.stored),
    ]
    findings = in_order(
        class_findings(
            survey, records, allow=arguments.allow_overlap, near=arguments.near_duplicates
        )
    )
    for finding in findings:
        print_finding(finding)
    counts = class_counts(survey)
    shown = counts.rows
    if len(shown) > MANY_CLASSES:
        shown = tuple(sorted(shown, key=lambda row: row[1])[:FEW_CLASSES])
        print(f'the {FEW_CLASSES} classes with the fewest images in {counts.parts[0]}:')
    show(table(('class', *counts.parts), [(name, *map(str, n)) for name, n in shown]))
    sizes = ', '.join(f'{part} {size}' for part, size in counts.sizes.items())
    print(f'{len(records)} images of {len(counts.rows)} classes ({sizes})')
    if arguments.html is not None:
        write_class_page(arguments.html, title, findings, records, counts)
        print(f'Page: {arguments.html}')
    return exit_code(findings)


def exit_code(findings: Sequence[Finding]) -> int:
    """Print how many findings there are. Returns 1 where some of them are errors."""
    errors = sum(finding.level == 'error' for finding in findings)
    warnings = sum(finding.level == 'warning' for finding in findings)
    print(f'{errors} errors, {warnings} warnings' if errors + warnings else 'all is well')
    return 1 if errors else 0


def _data_options(options: dict[str, Any] | None) -> dict[str, Any]:
    """The keys of `data` among the overrides. Raises ValueError for others."""
    others = [name for name in options or {} if not name.startswith('data.')]
    if others:
        raise ValueError(
            f'--cfg-options {others[0]}: without a config there is only data, such as '
            'data.ignore=255'
        )
    return {name.removeprefix('data.'): value for name, value in (options or {}).items()}
