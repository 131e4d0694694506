"""A way of training whose frozen prefix is not computed, but read from the disk."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from gps_seg.tuning.prefix_cache import cache_prefix
from tools.benchmarks.ways import Way


@contextmanager
def prefix_cached(way: Way, images: Tensor) -> Iterator[None]:
    """Within it the way trains on stored features, in half precision, of these images.

    What a step pays for them is part of it: the digests of the images, reading and checking.
    Raises ValueError for another tool's way.
    """
    if way.tuning is None:
        raise ValueError(
            "only this project's own ways have a prefix cache, such as gps_last50_cached"
        )
    with (
        tempfile.TemporaryDirectory() as folder,
        cache_prefix(way.tuning, [images], dtype='float16', folder=folder),
    ):
        yield
