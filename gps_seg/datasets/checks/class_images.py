"""What is wrong with images that have labels: lists, leakage between parts, contradictions."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gps_seg.datasets.checks.duplicates import duplicate_findings
from gps_seg.datasets.checks.record import Job, Record
from gps_seg.datasets.checks.rules import unreadable_findings
from gps_seg.datasets.classification import ImageClassDataset
from gps_seg.datasets.classification.image_list import ImageList
from gps_seg.datasets.classification.published import describe_differences
from gps_seg.datasets.findings import Finding, Level, named
from gps_seg.datasets.splits import PARTS

# The largest class by so many times the smallest one is worth a note.
UNBALANCED = 10


@dataclass(frozen=True)
class ClassSurvey:
    """The images of all parts, and what was found before any was read.

    files: images that are files. stored: those that a data set holds, and how to get their pixels.
    labels: of an image, the labels that the parts give it.
    """

    files: tuple[Job, ...]
    stored: tuple[tuple[Job, Callable[[], np.ndarray]], ...]
    labels: Mapping[str, tuple[int, ...]]
    findings: tuple[Finding, ...]
    classes: tuple[str, ...]

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All images."""
        return (*self.files, *(job for job, _ in self.stored))


@dataclass(frozen=True)
class ClassCounts:
    """The number of images of each class in each part that there is."""

    parts: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]
    sizes: Mapping[str, int]


def find_class_images(datasets: Mapping[str, Mapping[str, Any]]) -> ClassSurvey:
    """The images of a config's data sets.

    datasets: part (train, val, test) -> the config of an ImageClassDataset. Raises ValueError where
    settings contradict each other, so that nothing can be looked for.
    """
    splits: dict[str, list[str]] = {}
    labels: dict[str, list[int]] = {}
    pixels: dict[str, Callable[[], np.ndarray]] = {}
    findings: dict[str, Finding] = {}
    classes: dict[str, tuple[str, ...]] = {}
    for part, config in datasets.items():
        try:
            listed, differing = _listed(config)
        except (ValueError, FileNotFoundError) as error:
            missing = isinstance(error, FileNotFoundError)
            findings[str(error)] = Finding('error', str(error), missing=missing)
            continue
        if differing is not None:
            findings[differing] = Finding('warning', differing)
        classes[part] = listed.classes
        for place, (image, label) in enumerate(zip(listed.images, listed.labels, strict=True)):
            splits.setdefault(image, []).append(part)
            labels.setdefault(image, []).append(label)
            if listed.pixels is not None:
                pixels[image] = partial(listed.pixels, place)
    if len(set(classes.values())) > 1:
        counts = ', '.join(f'{part} {len(names)}' for part, names in classes.items())
        text = f'the parts have different classes ({counts}), so a label means two things'
        findings[text] = Finding('error', text, 'name the same data set for all parts')
    jobs = {image: Job(image, image, '', tuple(dict.fromkeys(p))) for image, p in splits.items()}
    return ClassSurvey(
        tuple(job for image, job in jobs.items() if image not in pixels),
        tuple((job, pixels[image]) for image, job in jobs.items() if image in pixels),
        {image: tuple(dict.fromkeys(numbers)) for image, numbers in labels.items()},
        tuple(findings.values()),
        next(iter(classes.values()), ()),
    )


def _listed(config: Mapping[str, Any]) -> tuple[ImageList, str | None]:
    """The images of a part, and how its data set differs from the published one."""
    settings = {
        name: value for name, value in config.items() if name not in ('type', 'pipeline', 'indices')
    }
    dataset = ImageClassDataset(**{**settings, 'lazy_init': True})
    root, listed = dataset.read_list()
    differing = describe_differences(dataset.name, root, dataset.described, listed)
    indices = config.get('indices')
    if indices is None:
        return listed, differing
    places = list(range(len(listed.images)))
    if isinstance(indices, int):
        return listed.take(places[:indices] if indices >= 0 else places[indices:]), differing
    return listed.take([places[index] for index in indices]), differing


def class_findings(
    survey: ClassSurvey, records: Sequence[Record], *, allow: bool = False, near: bool = False
) -> list[Finding]:
    """Everything that the lists and the images show.

    allow: leakage into test is no error. near: also compare each image with all others for being
    nearly equal, which grows with the square of their number and finds much in drawn images.
    """
    return [
        *survey.findings,
        *shared_findings(survey, allow=allow),
        *unreadable_findings(records),
        *_flat(records),
        *duplicate_findings(records, allow=allow, near=near),
        *_contradictions(survey, records),
        *_balance(survey),
    ]


def shared_findings(survey: ClassSurvey, *, allow: bool = False) -> Iterator[Finding]:
    """Images that stand in two parts: a wrong score where one of them is test."""
    for first, second in (('train', 'test'), ('val', 'test'), ('train', 'val')):
        shared = [job.image for job in survey.jobs if {first, second} <= set(job.splits)]
        if not shared:
            continue
        level: Level = 'error' if second == 'test' and not allow else 'warning'
        go_on = ' (--allow-overlap goes on)' if level == 'error' else ''
        yield Finding(
            level,
            f'{len(shared)} images stand in {first} and in {second}: {named(shared)}',
            f'keep each in one part, so that {second} says something{go_on}',
            tuple(shared),
        )


def _flat(records: Sequence[Record]) -> Iterator[Finding]:
    """Images of one colour, which show no class."""
    flat = tuple(record.job.image for record in records if record.is_flat)
    if flat:
        yield Finding(
            'warning',
            f'{len(flat)} images are of one colour alone: {named(flat)}',
            'were they read or exported rightly? remove them otherwise',
            flat,
        )


def _contradictions(survey: ClassSurvey, records: Sequence[Record]) -> Iterator[Finding]:
    """Equal images of different classes."""
    first: dict[str, str] = {}
    differing = []
    for record in records:
        image = record.job.image
        other = first.setdefault(record.digest, image) if record.digest else image
        if record.is_flat or survey.labels[other] == survey.labels[image]:
            continue
        says = [
            ', '.join(survey.classes[i] for i in survey.labels[name]) for name in (other, image)
        ]
        differing.append((other, image, f'{other} ({says[0]}) = {image} ({says[1]})'))
    if differing:
        yield Finding(
            'warning',
            f'{len(differing)} equal images have different classes: '
            f'{named([text for _, _, text in differing], 3)}',
            'one label of each is wrong; keep the right one',
            tuple(file for pair in differing for file in pair[:2]),
        )


def class_counts(survey: ClassSurvey) -> ClassCounts:
    """Count the images of each class in each part."""
    jobs = survey.jobs
    parts = tuple(part for part in PARTS if any(part in job.splits for job in jobs))
    counts = Counter((part, survey.labels[job.image][0]) for job in jobs for part in job.splits)
    rows = tuple(
        (name, tuple(counts[part, label] for part in parts))
        for label, name in enumerate(survey.classes)
    )
    return ClassCounts(
        parts, rows, {part: sum(part in job.splits for job in jobs) for part in parts}
    )


def _balance(survey: ClassSurvey) -> Iterator[Finding]:
    """Parts without images, and training classes of very different sizes."""
    counts = class_counts(survey)
    if 'train' not in counts.parts or not survey.classes:
        return
    column = counts.parts.index('train')
    sizes = {name: numbers[column] for name, numbers in counts.rows}
    absent = [name for name, size in sizes.items() if not size]
    if absent:
        text = f'{len(absent)} of {len(sizes)} classes have no training image: {named(absent)}'
        yield Finding('warning', text, 'nothing can be learnt of them; add images')
    present = {name: size for name, size in sizes.items() if size}
    if not present:
        return
    least, most = min(present, key=present.__getitem__), max(present, key=present.__getitem__)
    if present[most] > UNBALANCED * present[least]:
        yield Finding(
            'note',
            f'the classes are unbalanced: {present[most]} training images of {most}, '
            f'{present[least]} of {least}',
            'look at mean_class_accuracy beside top1',
        )
