"""The files that a data set names, for what has to know them without reading them."""

from collections.abc import Iterator
from typing import Any


def named_files(dataset: Any) -> Iterator[str]:
    """The images and masks of a data set, or of the one that it wraps; none where it names none."""
    if not hasattr(dataset, 'get_data_info'):
        dataset = getattr(dataset, 'dataset', dataset)
    if not hasattr(dataset, 'get_data_info'):
        return
    for index in range(len(dataset)):
        entry = dataset.get_data_info(index)
        yield from (entry[key] for key in ('img_path', 'seg_map_path') if entry.get(key))
