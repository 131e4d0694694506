"""Which pairs a config or a folder has, in which parts, and what is wrong with the lists."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gps_seg.data_root import data_path
from gps_seg.datasets.checks.record import Job
from gps_seg.datasets.findings import Finding, named, raise_first
from gps_seg.datasets.label_maps import Labels, make_labels
from gps_seg.datasets.mask_folder import list_of, make_folder, pages_of
from gps_seg.datasets.pairs import Pairing, listed, pair_files
from gps_seg.datasets.specs import MaskFolder
from gps_seg.datasets.splits import PARTS, split_stems

SETTINGS = ('root', 'images', 'masks', 'classes', 'palette')


@dataclass(frozen=True)
class Survey:
    """The pairs of all parts as jobs, and what was found before any file was read."""

    jobs: tuple[Job, ...]
    findings: tuple[Finding, ...]
    classes: tuple[str, ...]


def find_jobs(datasets: Mapping[str, Mapping[str, Any]]) -> Survey:
    """The pairs of a config's data sets.

    datasets: part (train, val, test) -> the config of a MaskFolderDataset. Raises ValueError where
    settings contradict each other, so that nothing can be looked for.
    """
    jobs: dict[tuple[str, str, int | None], Job] = {}
    findings: dict[str, Finding] = {}
    surveyed: dict[str, Pairing] = {}
    labels = Labels()
    for part, config in datasets.items():
        folder, labels = _described(config)
        if repr(folder) not in surveyed:
            surveyed[repr(folder)] = pair_files(folder)
        pairing = surveyed[repr(folder)]
        stems, wrong = _stems_of(folder, part, config, pairing)
        findings |= {str(finding): finding for finding in (*pairing.findings, *wrong)}
        for stem in stems:
            image, mask = pairing.pairs[stem]
            try:
                pages = pages_of(folder.page, image, mask)
            except (ValueError, OSError) as error:
                findings[str(error)] = Finding('error', str(error), files=(str(image),))
                continue
            for page in pages:
                place = (str(image), mask, page)
                parts = (*jobs[place].splits, part) if place in jobs else (part,)
                size = config.get('image_size')
                jobs[place] = Job(stem, str(image), mask, parts, labels, page, size)
    return Survey(tuple(jobs.values()), tuple(findings.values()), labels.classes)


def _described(config: Mapping[str, Any]) -> tuple[MaskFolder, Labels]:
    data = config.get('data')
    given = {name: config.get(name) for name in SETTINGS} if data is None else {'root': '', **data}
    folder = make_folder(config.get('spec'), given)
    labels = make_labels(
        classes=folder.classes,
        palette=folder.palette,
        ignore=folder.ignore,
        threshold=folder.threshold,
        foreground=folder.foreground,
    )
    return folder, labels


def _stems_of(
    folder: MaskFolder, part: str, config: Mapping[str, Any], pairing: Pairing
) -> tuple[list[str], list[Finding]]:
    """The stems of one part, and what is wrong with its list."""
    split = config.get('split')
    try:
        if not pairing.pairs:
            return [], []
        if config.get('ann_file'):
            return listed(pairing, data_path(folder.root) / config['ann_file'])
        if split is None:
            return list(pairing.pairs), []
        file = list_of(folder, split)
        if file is not None:
            return listed(pairing, file)
        return split_stems(pairing.pairs, seed=folder.seed, group=folder.group)[split], []
    except (ValueError, FileNotFoundError) as error:
        missing = isinstance(error, FileNotFoundError)
        return [], [Finding('error', str(error), missing=missing)]


def overlap_findings(survey: Survey, *, allow: bool = False) -> list[Finding]:
    """Pairs that stand in two parts: a wrong score where one of them is test."""
    found = []
    for first, second in (('train', 'test'), ('val', 'test'), ('train', 'val')):
        shared = [job.stem for job in survey.jobs if {first, second} <= set(job.splits)]
        if shared:
            level = 'error' if second == 'test' and not allow else 'warning'
            found.append(
                Finding(
                    level,  # type: ignore[arg-type]
                    f'{len(shared)} pairs stand in {first} and in {second}: {named(shared)}',
                    f'keep each in one list, so that {second} says something'
                    + (' (--allow-overlap goes on)' if level == 'error' else ''),
                    tuple(shared),
                )
            )
    return found


def part_sizes(survey: Survey) -> dict[str, int]:
    """The number of pairs of each part."""
    return {part: sum(part in job.splits for job in survey.jobs) for part in PARTS}


def raise_errors(survey: Survey) -> None:
    """Raise the first error that was found before any file was read."""
    raise_first(survey.findings)
