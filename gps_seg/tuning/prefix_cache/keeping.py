"""From a fine-tuning and its images to a cache that it trains on."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from gps_seg.selection import preserved
from gps_seg.tuning.prefix_cache.cache import PrefixCache, refuse_cached
from gps_seg.tuning.prefix_cache.filling import Filled, check_room, fill
from gps_seg.tuning.prefix_cache.key import precision, prefix_key
from gps_seg.tuning.prefix_cache.prefix import make_prefix
from gps_seg.tuning.prefix_cache.records import Records
from gps_seg.tuning.prefix_cache.settings import CacheSettings, in_words
from gps_seg.tuning.prefix_cache.store import HEADER, Store
from gps_seg.tuning.tuning import Tuning

LOGGER = logging.getLogger('gps_seg')
# Digits of the folder's name: 128 bits.
DIGITS = 32


def keep_prefix(
    tuning: Tuning,
    batches: Callable[[], Iterable[Tensor]],
    *,
    num_images: int,
    settings: CacheSettings,
    logger: logging.Logger = LOGGER,
) -> PrefixCache:
    """Store what the frozen prefix gives for every image and view, and train on that from now on.

    batches: gives the batches of images (B, C, H, W) as the model gets them in training, on its
        device, the same at every call.
    num_images: images times views.

    The size is said before anything is computed. What other runs have stored is used.

    Raises ValueError, naming cause and next step, where the prefix cannot be cached or takes too
    much room; NotWritten where the disk is full.
    """
    refuse_cached(tuning)
    model = tuning.model
    with _in_training(model):
        images = next(iter(batches()), None)
        if images is None:
            raise ValueError('there are no images to cache the prefix of; is the loader empty?')
        prefix = make_prefix(model, tuning.parts, images)
        records = Records(prefix.shapes, settings.storage)
        key = prefix_key(prefix, images.device, settings.storage)
        where = precision(images.device)
        store = Store(settings.place / key[:DIGITS], records.size)
        try:
            needed = num_images * (HEADER + records.size)
            last = ', '.join(path or type(prefix.entry).__name__ for path, _ in prefix.kept)
            logger.info(
                f'prefix cache: the output of {last} for {num_images:,} images and views in '
                f'{settings.dtype}, {in_words(needed)}, in {store.folder} '
                f'({len(store):,} are there already)'
            )
            check_room(store.folder, needed, min(store.size, needed), settings)
            report = _reporter(logger, num_images)
            filled = fill(store, prefix, records, batches, report=report)
        except BaseException:
            store.close()
            raise
    logger.info(
        f'prefix cache: {filled.seen:,} images and views, {filled.computed:,} computed now'
        + (f', {filled.repaired:,} of these because of damage' if filled.repaired else '')
    )
    cache = PrefixCache(tuning, prefix, store, records, key=key, where=where)
    cache.filled = filled
    return cache


@contextmanager
def _in_training(model: nn.Module) -> Iterator[None]:
    """The model as it is trained; afterwards it, its modes and the random state are as before."""
    modes = {module: module.training for module in model.modules()}
    with preserved(model, training=True):
        if modes[model]:
            # Somebody who trains with an encoder in eval mode means it.
            for module, mode in modes.items():
                module.training = mode
        yield


def _reporter(logger: logging.Logger, num_images: int) -> Callable[[Filled], None]:
    tenth = max(num_images // 10, 1)
    told = [0]

    def report(filled: Filled) -> None:
        if filled.computed // tenth > told[0]:
            told[0] = filled.computed // tenth
            logger.info(f'prefix cache: {filled.computed:,} of {num_images:,} computed')

    return report
