"""`gps-seg check`: read every image and mask, and list all that is wrong with them."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.cli.check_classes import check_classes, class_folders
from gps_seg.cli.configs import add_config, load_config
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.folder_options import add_folder, data_of, name_patterns
from gps_seg.cli.read_all import read_all
from gps_seg.cli.show_findings import exit_code, in_order, print_finding
from gps_seg.cli.tables import show, table
from gps_seg.datasets.checks import (
    Record,
    Survey,
    Totals,
    duplicate_findings,
    find_jobs,
    overlap_findings,
    record_findings,
    totals_of,
    write_page,
)
from gps_seg.datasets.findings import Finding
from gps_seg.runner.config_keys import check_config_keys

KINDS = ('MaskFolderDataset', 'ImageClassDataset')
LOADERS = ('train', 'val', 'test')


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


def _data_options(options: dict[str, Any] | None) -> dict[str, Any]:
    """The keys of `data` among the overrides. Raises ValueError for others."""
    others = [name for name in options or {} if not name.startswith('data.')]
    if others:
        raise ValueError(
            f'--cfg-options {others[0]}: without a config there is only data, such as '
            'data.ignore=255'
        )
    return {name.removeprefix('data.'): value for name, value in (options or {}).items()}
