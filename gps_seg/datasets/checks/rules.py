"""What records of pairs say about the whole of the data."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gps_seg.datasets.checks.record import Record
from gps_seg.datasets.findings import Finding, Level, named
from gps_seg.datasets.splits import PARTS

SMALL_OBJECT = 8  # pixels of the model's input: half a patch of a ViT
STRETCHED = 3.0


@dataclass(frozen=True)
class Totals:
    """Sums over all pairs. images: by part. pixels, present: by class; present in so many masks."""

    images: dict[str, int]
    classes: tuple[str, ...]
    pixels: tuple[int, ...]
    present: tuple[int, ...]
    ignored: int
    values: tuple[tuple[str, int], ...]
    sides: tuple[float, ...]


def totals_of(records: Sequence[Record]) -> Totals:
    """Add up what the readable masks hold."""
    classes = records[0].job.labels.classes if records else ()
    counted = [record.counts for record in records if record.counts]
    table = np.array(counted, np.int64).reshape(len(counted), len(classes))
    values: Counter[str] = Counter()
    for record in records:
        values.update(dict(record.values))
    return Totals(
        {part: sum(part in record.job.splits for record in records) for part in PARTS},
        classes,
        tuple(table.sum(axis=0).tolist()),
        tuple((table > 0).sum(axis=0).tolist()),
        sum(record.ignored for record in records),
        tuple(values.most_common()),
        tuple(side for record in records for side in record.sides),
    )


def record_findings(records: Sequence[Record], *, sample: bool = False) -> list[Finding]:
    """Everything that the records of pairs show, duplicates left out.

    sample: the records are of some pairs, so that what they lack is not said.
    """
    findings = [
        *unreadable_findings(records),
        *_own_mask(records),
        *_mixed_values(records),
        *_ignored_foreground(records, 'warning' if sample else 'error'),
    ]
    for rule in () if sample else (_unlike_masks, _classes, _images, _objects, _parts):
        findings += rule(records)
    return findings


def unreadable_findings(records: Iterable[Record]) -> Iterator[Finding]:
    """One finding for each kind of error or decoder's warning, with all its files."""
    for level, texts_of in (('error', lambda r: r.errors), ('warning', lambda r: r.notes)):
        grouped: dict[tuple[str, ...], dict[str, str]] = {}
        for record in records:
            for text in texts_of(record):
                file = record.job.image if text.startswith('image') else record.job.mask
                grouped.setdefault(_cause(text), {})[file] = text
        for texts in grouped.values():
            files, text = tuple(texts), next(iter(texts.values()))
            if level == 'warning':
                fix = 'save or fetch the files again (train --strict refuses them)'
                yield Finding('warning', f'{text}: {named(files)}', fix, files)
                continue
            count = f'{len(files)} files, ' if len(files) > 1 else ''
            which = '' if len(set(texts.values())) == 1 else '; the first'
            yield Finding('error', f'{count}{named(files)}{which}: {text}', '', files)


def _cause(text: str) -> tuple[str, ...]:
    """What an error says, whatever the numbers of its file: its words, each once."""
    return tuple(dict.fromkeys(re.findall(r'[^\W\d]+', text)))


def _ignored_foreground(records: Sequence[Record], level: Level) -> Iterator[Finding]:
    """Masks whose whole foreground is among the values to ignore."""
    ignored = sum(record.ignored for record in records)
    if not ignored or any(any(record.counts[1:]) for record in records):
        return
    values = ', '.join(map(str, records[0].job.labels.ignore))
    yield Finding(
        level,
        f'no mask has a foreground pixel, since data.ignore={values} takes {ignored:,} pixels out',
        'leave data.ignore out where these are the foreground: masks of 0 and 255 need no setting',
    )


def _own_mask(records: Sequence[Record]) -> Iterator[Finding]:
    """The same file as image and mask."""
    same = [r for r in records if r.job.image == r.job.mask]
    if same:
        files = tuple(record.job.image for record in same)
        yield Finding(
            'error',
            f'{len(same)} images are their own masks: {named(files)}',
            'images and masks name the same files; narrow the patterns',
            files,
        )


def _mixed_values(records: Sequence[Record]) -> Iterator[Finding]:
    """Masks of two values each, but of different ones: a label map taken for two classes."""
    readable = [r for r in records if r.counts and r.values and r.job.labels.by == 'clusters']
    if not readable or readable[0].job.labels.threshold is not None:
        return
    brightest: dict[str, list[str]] = {}
    for record in readable:
        if not record.counts[1] or len(record.values) > 8:
            continue  # empty, or noisy
        value = max((v for v, _ in record.values), key=_magnitude)
        brightest.setdefault(value, []).append(record.job.mask)
    if len(brightest) > 1:
        ordered = sorted(brightest, key=_magnitude)
        examples = ', '.join(f'{value} in {named(brightest[value], 1)}' for value in ordered[:5])
        yield Finding(
            'error' if len(brightest) > 2 or '255' not in brightest else 'warning',
            f'the foreground has {len(brightest)} different values: {examples}',
            'are they classes? name them: classes=dict(background=0, ...); if all are one class, '
            'say threshold=0 for grey masks',
            tuple(file for files in brightest.values() for file in files[:20]),
        )


def _magnitude(value: str) -> float:
    return max(float(part) for part in value.strip('()').split(','))


def _unlike_masks(records: Sequence[Record]) -> Iterator[Finding]:
    """Masks without foreground, or full of it, and masks that look inverted."""
    readable = [record for record in records if record.counts]
    if not readable:
        return
    empty = [r.job.mask for r in readable if not any(r.counts[1:])]
    full = [r.job.mask for r in readable if not r.counts[0] and any(r.counts[1:])]
    if len(empty) == len(readable):
        if any(record.ignored for record in readable):
            return  # `_ignored_foreground` says it
        yield Finding(
            'error',
            'no mask has a foreground pixel',
            'are these the right masks, and is their foreground the value that `data` says?',
        )
    elif empty:
        share = f'{len(empty)} of {len(readable)} masks are empty: {named(empty)}'
        yield Finding('note', share, 'right where the images show nothing of it', tuple(empty))
    if full and len(readable[0].counts) == 2:
        text = f'{len(full)} of {len(readable)} masks are foreground all over: {named(full)}'
        yield Finding('warning', text, 'look at them; were they exported as masks?', tuple(full))
    shares = [sum(r.counts[1:]) / (sum(r.counts) or 1) for r in readable]
    if len(readable[0].counts) == 2 and len(shares) > 4 and float(np.median(shares)) > 0.8:
        yield Finding(
            'warning',
            f'the foreground covers {100 * float(np.median(shares)):.0f} % of the median mask',
            'if the masks are inverted, say which value is foreground: foreground=0',
        )


def _classes(records: Sequence[Record]) -> Iterator[Finding]:
    """Classes that never occur, or only where nothing is learnt from them; ignored pixels."""
    readable = [record for record in records if record.counts]
    if not readable:
        return
    names = readable[0].job.labels.classes
    by_part = {
        part: np.array([r.counts for r in readable if part in r.job.splits]).reshape(-1, len(names))
        for part in PARTS
    }
    for index, name in enumerate(names):
        occurs = {part for part in PARTS if by_part[part][:, index].sum()}
        everywhere = sum(record.counts[index] for record in readable)
        if not everywhere and (index or len(names) > 2):
            text = f'no mask has the class {name!r} (index {index})'
            yield Finding('warning', text, 'is its id or colour right? leave it out otherwise')
        elif 'train' not in occurs and len(by_part['train']):
            text = f'the class {name!r} occurs in {" and ".join(sorted(occurs))} but not in train'
            yield Finding('warning', text, 'it cannot be learnt; divide the images otherwise')
    ignored = sum(record.ignored for record in readable)
    total = ignored + sum(sum(record.counts) for record in readable)
    if ignored > total / 2:
        text = f'{100 * ignored / total:.0f} % of all pixels are ignored'
        yield Finding('warning', text, 'is a class among the values of `ignore`?')


def _images(records: Sequence[Record]) -> Iterator[Finding]:
    """Images of one colour, turned ones, stretched ones, and a mixture of grey and colour."""
    readable = [record for record in records if record.size]
    yield from _listed(
        readable,
        lambda r: r.is_flat,
        'warning',
        'images are of one colour alone',
        'were they read or exported rightly? remove them otherwise',
    )
    yield from _listed(
        readable,
        lambda r: r.orientation > 1 and not r.errors,
        'warning',
        'images are turned by their EXIF tag',
        'make sure that their masks were drawn on the turned picture (--html shows them)',
    )
    yield from _listed(
        readable,
        lambda r: r.size is not None and max(r.size) > STRETCHED * min(r.size),
        'warning',
        f'images are more than {STRETCHED:g} times as long as wide, and are squashed to a square',
        'cut them into tiles',
    )
    grey = [record.job.image for record in readable if record.is_grey]
    if grey and len(grey) < len(readable):
        text = f'{len(grey)} of {len(readable)} images are grey, the others coloured: {named(grey)}'
        yield Finding('note', text, files=tuple(grey))


def _listed(
    records: Sequence[Record], holds: Callable[[Record], bool], level: Level, what: str, fix: str
) -> Iterator[Finding]:
    files = tuple(record.job.image for record in records if holds(record))
    if files:
        yield Finding(level, f'{len(files)} {what}: {named(files)}', fix, files)


def _objects(records: Sequence[Record]) -> Iterator[Finding]:
    """Objects too small for the model's input."""
    size = next((record.job.image_size for record in records if record.job.image_size), None)
    sides = np.array([side for record in records for side in record.sides])
    if size is None or not len(sides):
        return
    small = int((sides < SMALL_OBJECT).sum())
    if small > len(sides) / 4:
        files = tuple(r.job.mask for r in records if any(side < SMALL_OBJECT for side in r.sides))
        yield Finding(
            'warning',
            f'{small} of {len(sides)} objects are thinner than {SMALL_OBJECT} pixels at '
            f'image_size={size} (median {np.median(sides):.0f})',
            'take a larger image_size, or cut the images into tiles; if these are specks, clean '
            'the masks',
            files,
        )


def _parts(records: Sequence[Record]) -> Iterator[Finding]:
    """Parts that are empty, or too small to choose or to score on."""
    sizes = {part: sum(part in r.job.splits for r in records) for part in PARTS}
    if not any(sizes.values()):
        return
    for part, needed in (('train', 7), ('val', 5), ('test', 10)):
        if sizes[part] < needed:
            words = f'{part} has {sizes[part]} images'
            level: Level = 'error' if not sizes[part] else 'warning'
            yield Finding(level, words, f'its scores say little below {needed}; add images')
