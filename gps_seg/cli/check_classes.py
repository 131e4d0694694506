"""`gps-seg check` of images with labels: read every image, and list all that is wrong."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gps_seg.cli.own_classes import folders_of_parts
from gps_seg.cli.read_all import read_all
from gps_seg.cli.show_findings import exit_code, in_order, print_finding
from gps_seg.cli.tables import show, table
from gps_seg.datasets.checks import (
    ClassCounts,
    ClassSurvey,
    Record,
    class_counts,
    class_findings,
    examine_image,
    examine_pixels,
    find_class_images,
    write_class_page,
)
from gps_seg.datasets.findings import Finding

MANY_CLASSES, FEW_CLASSES = 50, 10
LOADERS = ('train', 'val', 'test')


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
    folders_of_parts(root, arguments.group)
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
    findings, records = run_class_check(
        survey,
        allow_overlap=arguments.allow_overlap,
        near=arguments.near_duplicates,
        workers=arguments.workers,
    )
    counts = class_counts(survey)
    report_classes(findings, counts, len(records))
    if arguments.html is not None:
        write_class_page(arguments.html, title, findings, records, counts)
        print(f'Page: {arguments.html}')
    return exit_code(findings)


def run_class_check(
    survey: ClassSurvey,
    *,
    allow_overlap: bool = False,
    near: bool = False,
    workers: int | None = None,
) -> tuple[list[Finding], list[Record]]:
    """Read every image. Returns all findings, errors first, and the records of the images.

    near: also look for nearly equal images.
    """
    records = [
        *read_all(survey.files, workers, examine_image),
        *(examine_pixels(job, pixels()) for job, pixels in survey.stored),
    ]
    return in_order(class_findings(survey, records, allow=allow_overlap, near=near)), records


def report_classes(findings: Sequence[Finding], counts: ClassCounts, num_images: int) -> None:
    """Print the findings with their fixes, and how many images each class has."""
    for finding in findings:
        print_finding(finding)
    shown = counts.rows
    if len(shown) > MANY_CLASSES:
        shown = tuple(sorted(shown, key=lambda row: row[1])[:FEW_CLASSES])
        print(f'the {FEW_CLASSES} classes with the fewest images in {counts.parts[0]}:')
    show(table(('class', *counts.parts), [(name, *map(str, n)) for name, n in shown]))
    sizes = ', '.join(f'{part} {size}' for part, size in counts.sizes.items())
    print(f'{num_images} images of {len(counts.rows)} classes ({sizes})')
