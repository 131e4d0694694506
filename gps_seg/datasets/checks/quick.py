"""The cheap part of the check, before a training: lists, sizes by headers, some masks in full."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gps_seg.datasets.checks.class_images import (
    find_class_images,
    shared_findings,
)
from gps_seg.datasets.checks.folders import find_jobs, overlap_findings
from gps_seg.datasets.checks.record import Job, examine, examine_image, header_size
from gps_seg.datasets.checks.rules import record_findings, unreadable_findings
from gps_seg.datasets.coco import is_coco
from gps_seg.datasets.findings import Finding, named

NUM_READ = 16
NUM_HEADERS = 4000
MAX_BYTES = 2**28  # of files that are hashed


def quick_findings(
    datasets: Mapping[str, Mapping[str, Any]], *, allow_overlap: bool = False
) -> list[Finding]:
    """Findings that need seconds: pairs by their headers, NUM_READ pairs in full, equal files."""
    survey = find_jobs(datasets)
    records = [examine(job) for job in _spread(survey.jobs, NUM_READ)]
    return [
        *survey.findings,
        *overlap_findings(survey, allow=allow_overlap),
        *_sizes(_spread(survey.jobs, NUM_HEADERS)),
        *record_findings(records, sample=True),
        *equal_files(survey.jobs, allow=allow_overlap),
    ]


def quick_class_findings(
    datasets: Mapping[str, Mapping[str, Any]], *, allow_overlap: bool = False
) -> list[Finding]:
    """The same for images with labels: lists, NUM_READ images in full, equal files."""
    survey = find_class_images(datasets)
    records = [examine_image(job) for job in _spread(survey.files, NUM_READ)]
    return [
        *survey.findings,
        *shared_findings(survey, allow=allow_overlap),
        *unreadable_findings(records),
        *equal_files(survey.files, allow=allow_overlap),
    ]


def _spread(jobs: Sequence[Job], count: int) -> Sequence[Job]:
    """So many of the pairs, evenly over all."""
    return jobs[:: max(1, len(jobs) // count)][:count]


def _sizes(jobs: Iterable[Job]) -> list[Finding]:
    """Images that are not of the size of their masks, by the headers of both."""
    unequal = []
    for job in jobs:
        if is_coco(job.mask) or job.page is not None:
            continue
        sizes = header_size(job.image), header_size(job.mask)
        if None not in sizes and sizes[0] != sizes[1]:
            unequal.append(job.image)
    if not unequal:
        return []
    text = f'{len(unequal)} images are not of the size of their masks: {named(unequal)}'
    fix = 'give both the same size (is one of them turned by its EXIF tag?)'
    return [Finding('error', text, fix, tuple(unequal))]


def equal_files(jobs: Sequence[Job], *, allow: bool) -> list[Finding]:
    """Images of different parts whose files are equal, byte for byte."""
    by_size: dict[int, list[Job]] = defaultdict(list)
    for job in {job.image: job for job in jobs}.values():
        if Path(job.image).is_file():
            by_size[Path(job.image).stat().st_size].append(job)
    left = MAX_BYTES
    shared: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for size, same in sorted(by_size.items()):
        if len(same) < 2 or (left := left - size * len(same)) < 0:
            continue
        first: dict[str, Job] = {}
        for job in same:
            digest = hashlib.sha256(Path(job.image).read_bytes()).hexdigest()
            other = first.setdefault(digest, job)
            if set(other.splits) != set(job.splits):
                parts = tuple(sorted({*other.splits, *job.splits}))
                shared[parts].append(f'{other.image} = {job.image}')
    return [
        Finding(
            'error' if 'test' in parts and not allow else 'warning',
            f'{len(names)} equal images stand in {" and ".join(parts)}: {named(names, 3)}',
            'keep them in one part, or go on with --allow-overlap',
            tuple(names),
        )
        for parts, names in shared.items()
    ]
