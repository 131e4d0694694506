"""Equal and nearly equal images: leakage where they lie in different parts."""

from collections.abc import Iterator, Sequence

import numpy as np

from gps_seg.datasets.checks.record import SMALL, Record
from gps_seg.datasets.findings import Finding, named

# Two images are nearly equal where at most so many of 64 bits of the difference hash differ, and
# their thumbnails, brightness and contrast taken out, are as alike as this. A hash alone takes
# smooth images for equal.
MAX_BITS = 6
MIN_CORRELATION = 0.99
BLOCK = 512


def duplicate_findings(
    records: Sequence[Record], *, allow: bool = False, near: bool = True
) -> list[Finding]:
    """Pairs of images that are equal or, with `near`, nearly so.

    allow: leakage into test is no error.
    """
    readable = [record for record in records if record.digest and not record.is_flat]
    exact = list(_equal(readable))
    alike = list(_near(readable)) if near else []
    findings: list[Finding] = []
    for kind, pairs in (('equal', exact), ('nearly equal', alike)):
        findings += _by_parts(kind, pairs, allow=allow)
    return findings + _contradicting(exact)


def _equal(records: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    first: dict[str, Record] = {}
    for record in records:
        if record.digest in first:
            yield first[record.digest], record
        else:
            first[record.digest] = record


def _near(records: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    if len(records) < 2:
        return
    words = b''.join(record.dhash.to_bytes(8, 'big') for record in records)
    bits = np.unpackbits(np.frombuffer(words, np.uint8)).reshape(-1, 64).astype(np.float32)
    ones = bits.sum(axis=1)
    thumbs = np.stack([np.frombuffer(record.small, np.uint8) for record in records])
    thumbs = thumbs.reshape(-1, SMALL * SMALL).astype(np.float32)
    thumbs -= thumbs.mean(axis=1, keepdims=True)
    thumbs = thumbs / (np.linalg.norm(thumbs, axis=1, keepdims=True) + 1e-6)
    for start in range(0, len(records), BLOCK):
        rows = slice(start, start + BLOCK)
        differing = ones[rows, None] + ones[None] - 2 * bits[rows] @ bits.T
        for i, j in np.argwhere(differing <= MAX_BITS):
            a, b = start + int(i), int(j)
            if a >= b or records[a].digest == records[b].digest:
                continue
            if float(thumbs[a] @ thumbs[b]) >= MIN_CORRELATION:
                yield records[a], records[b]


def _by_parts(
    kind: str, pairs: Sequence[tuple[Record, Record]], *, allow: bool
) -> Iterator[Finding]:
    """One finding for each two parts that share images, and one for those within a part."""
    grouped: dict[tuple[str, ...], list[tuple[Record, Record]]] = {}
    for pair in pairs:
        touched = {part for record in pair for part in record.job.splits}
        crossing = set(pair[0].job.splits) != set(pair[1].job.splits)
        grouped.setdefault(tuple(sorted(touched)) if crossing else (), []).append(pair)
    for parts, shared in sorted(grouped.items()):
        names = [f'{a.job.image} = {b.job.image}' for a, b in shared]
        files = tuple(record.job.image for pair in shared for record in pair)
        if not parts:
            text = f'{len(shared)} pairs of {kind} images within one part: {named(names, 3)}'
            yield Finding(
                'note', text, 'they count twice; remove one of each if that is unwanted', files
            )
            continue
        level = 'error' if 'test' in parts and not allow else 'warning'
        fix = 'look at them (--html FILE); ' if kind != 'equal' else ''
        fix += 'keep them in one part (group=..., or the lists)'
        fix += ', or go on with --allow-overlap' if level == 'error' else ''
        text = f'{len(shared)} {kind} images stand in {" and ".join(parts)}: {named(names, 3)}'
        yield Finding(level, text, fix, files)  # type: ignore[arg-type]


def _contradicting(pairs: Sequence[tuple[Record, Record]]) -> list[Finding]:
    """Equal images whose masks differ."""
    differing = [(a, b) for a, b in pairs if a.mask_digest and b.mask_digest != a.mask_digest]
    if not differing:
        return []
    names = [f'{a.job.mask} and {b.job.mask}' for a, b in differing]
    files = tuple(record.job.mask for pair in differing for record in pair)
    text = f'{len(differing)} equal images have different masks: {named(names, 3)}'
    return [Finding('warning', text, 'one mask of each is wrong; keep the right one', files)]
