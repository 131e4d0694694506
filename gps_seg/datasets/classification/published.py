"""A data set on disk beside what is published of it."""

import logging
from pathlib import Path

from mmengine.logging import MMLogger, print_log

from gps_seg.datasets.classification.image_list import ImageList
from gps_seg.datasets.classification.lossy import stored_note
from gps_seg.datasets.classification.specs import ImageClasses

# (log, text) of what was said; three data sets of one folder have the same to say.
_said: set[tuple[str, str]] = set()


def differences(spec: ImageClasses, listed: ImageList) -> list[str]:
    """In words, how a data set differs from the published one, and what is odd about its files."""
    found = [
        f'{listed.sizes[split]:,} {split} images (published {published:,})'
        for split, published in spec.sizes.items()
        if split in listed.sizes and listed.sizes[split] != published
    ]
    if spec.num_classes is not None and listed.present != spec.num_classes:
        found.append(f'{listed.present} classes (published {spec.num_classes})')
    return [*found, *listed.notes]


def describe_differences(
    name: str, root: Path, spec: ImageClasses, listed: ImageList
) -> str | None:
    """One sentence of everything that differs, or None."""
    found = [*differences(spec, listed), *stored_note(spec, listed)]
    if not found:
        return None
    if spec.sizes or spec.num_classes:
        return f'{name} in {root} is not as published: {"; ".join(found)}'
    return f'{name}: {"; ".join(found)}'


def warn_of_differences(name: str, root: Path, spec: ImageClasses, listed: ImageList) -> None:
    """Say once in a log what differs: a result on other data is no published result."""
    text = describe_differences(name, root, spec, listed)
    key = (MMLogger.get_current_instance().instance_name, text or '')
    if text is not None and key not in _said:
        _said.add(key)
        print_log(text, logger='current', level=logging.WARNING)
