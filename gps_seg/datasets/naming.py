"""How the names of images and masks belong together, found out from the names."""

from collections.abc import Collection
from pathlib import Path

from gps_seg.datasets.pairs import collect


def common_ends(stems: Collection[str]) -> tuple[str, str]:
    """What all stems start and end with; a number is never cut in two.

    >>> common_ends(['21_training', '22_training'])
    ('', '_training')
    >>> common_ends(['case01_mask', 'case02_mask'])
    ('case', '_mask')
    """
    if len(stems) < 2:
        return '', ''
    before = _common_start(stems)
    after = _common_start([stem[len(before) :][::-1] for stem in stems])[::-1]
    return before, after


def _common_start(texts: Collection[str]) -> str:
    """What all texts start with, less the digits at its end."""
    low, high = min(texts), max(texts)  # all others lie between them
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[:same].rstrip('0123456789')


def pair_patterns(images: Path, masks: Path) -> tuple[str, str]:
    """Patterns by which the files of two folders pair, as `MaskFolder` takes them.

    Folders with equal stems stay as they are; otherwise what all names of a folder share is left
    out: `21_training.tif` goes with `21_manual1.gif`. Raises ValueError where nothing pairs.
    """
    stems = [set(collect(Path('/'), str(folder))[0]) for folder in (images, masks)]
    if stems[0] & stems[1] or not all(stems) or images == masks:
        return str(images), str(masks)
    ends = [common_ends(names) for names in stems]
    cores = [
        {stem[len(before) : len(stem) - len(after)] for stem in names}
        for names, (before, after) in zip(stems, ends, strict=True)
    ]
    for image_ends, mask_ends, image_names, mask_names in (
        (ends[0], ends[1], cores[0], cores[1]),
        (('', ''), _around(stems[0], stems[1]), stems[0], stems[0]),
    ):
        if mask_ends is not None and len(image_names & mask_names) > len(stems[0]) / 2:
            return (
                str(images / f'{image_ends[0]}*{image_ends[1]}.*'),
                str(masks / f'{mask_ends[0]}*{mask_ends[1]}.*'),
            )
    shown = [sorted(names)[0] for names in stems]
    raise ValueError(
        f'the names in {images} (such as {shown[0]!r}) and in {masks} (such as {shown[1]!r}) do '
        'not belong together; give patterns in which * stands for the same text: --images '
        "'DIR/*.png' --masks 'DIR/*_mask.png'"
    )


def _around(images: set[str], masks: set[str]) -> tuple[str, str] | None:
    """What a mask's name has before and after the name of its image, if all have the same."""
    found = set()
    by_length = sorted(images, key=len, reverse=True)
    for mask in masks:
        image = next((name for name in by_length if name in mask), None)
        if image is None:
            return None
        before, _, after = mask.partition(image)
        found.add((before, after))
    return found.pop() if len(found) == 1 else None
