"""Training, validation and test images: lists, and splits by a fixed seed."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gps_seg.datasets.findings import named

PARTS = ('train', 'val', 'test')
SHARES = {'train': 0.7, 'val': 0.1, 'test': 0.2}
MIN_PAIRS = 10


def read_split(path: Path) -> list[str]:
    """The stems of a split list, one per line; empty lines do not count.

    Raises FileNotFoundError where there is none, ValueError where it is empty, repeats a stem or is
    no UTF-8 text.
    """
    if not path.is_file():
        raise FileNotFoundError(f'no split list {path}; it names one file stem per line')
    try:
        # Some editors start a file with a byte order mark.
        text = path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'the split list {path} is no UTF-8 text; save it as UTF-8') from error
    if '\0' in text:
        raise ValueError(f'the split list {path} is no UTF-8 text; save it as UTF-8')
    stems = [line.strip() for line in text.splitlines()]
    stems = [stem for stem in stems if stem]
    repeated = [stem for stem, count in Counter(stems).items() if count > 1]
    if not stems or repeated:
        problem = f'repeats {named(repeated)}' if repeated else 'is empty'
        raise ValueError(f'the split list {path} {problem}; it names each file stem once')
    return stems


def group_of(stem: str, pattern: re.Pattern[str] | None) -> str:
    """What a stem is kept together by: the pattern's first group, else what it matches."""
    if pattern is None:
        return stem
    match = pattern.search(stem)
    if match is None:
        raise ValueError(
            f'the group pattern {pattern.pattern!r} does not match {stem!r}; it must match the '
            r"name of every image, such as '^(patient\d+)'"
        )
    return match.group(1) if pattern.groups else match.group(0)


def compile_group(group: str | None) -> re.Pattern[str] | None:
    """The group pattern. Raises ValueError where it is no regular expression."""
    try:
        return re.compile(group) if group else None
    except re.error as error:
        raise ValueError(
            f'the group pattern {group!r} is no regular expression: {error}'
        ) from error


def split_stems(
    stems: Iterable[str],
    *,
    seed: int = 0,
    group: str | None = None,
    shares: Mapping[str, float] = SHARES,
) -> dict[str, list[str]]:
    """Divide images into train, val and test.

    The order is that of a hash of seed and group, so that it depends on nothing else. Each group
    goes whole to the part that lacks most of its share, and no part is left empty.

    group: a regular expression; images for which it gives the same text stay together.

    Raises ValueError where there are too few images or groups.
    """
    groups = _grouped(stems, group)
    total = sum(map(len, groups.values()))
    if total < MIN_PAIRS:
        raise ValueError(
            f'{total} pairs of image and mask are too few: at least {MIN_PAIRS} are needed (7 to '
            'train on, 1 to choose the epoch on, 2 to test on); add more'
        )
    if len(groups) < len(shares):
        raise ValueError(
            f'the group pattern {group!r} makes {len(groups)} groups of {total} images; at least '
            f'{len(shares)} are needed, one for each of {", ".join(shares)}'
        )
    return _assigned(groups, total, seed, shares)


def divide(
    names: Iterable[str],
    *,
    seed: int,
    shares: Mapping[str, float],
    group: str | None = None,
    seen_as: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """`split_stems` for any number of names: where they are fewer than the parts, the parts of the
    largest shares get one each.

    seen_as: what the group pattern is given in place of a name.
    """
    groups = _grouped(names, group, seen_as)
    return _assigned(groups, sum(map(len, groups.values())), seed, shares)


def _grouped(
    names: Iterable[str], group: str | None, seen_as: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    pattern = compile_group(group)
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        seen = name if seen_as is None else seen_as[name]
        groups.setdefault(group_of(seen, pattern), []).append(name)
    return groups


def _assigned(
    groups: Mapping[str, Sequence[str]], total: int, seed: int, shares: Mapping[str, float]
) -> dict[str, list[str]]:
    order = sorted(groups, key=lambda key: hashlib.sha256(f'{seed}:{key}'.encode()).hexdigest())
    parts: dict[str, list[str]] = {part: [] for part in shares}
    for position, key in enumerate(order):
        empty = [part for part in parts if not parts[part]]
        must_fill = len(order) - position <= len(empty)
        lacking = empty if must_fill else list(parts)
        part = max(lacking, key=lambda name: shares[name] * total - len(parts[name]))
        parts[part].extend(groups[key])
    return {part: sorted(names) for part, names in parts.items()}
