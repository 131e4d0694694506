"""Filling a cache once: every image of a training and each of its stored views."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gps_seg.tuning.prefix_cache.key import image_keys
from gps_seg.tuning.prefix_cache.prefix import TOLERANCE, Prefix, same
from gps_seg.tuning.prefix_cache.records import Records
from gps_seg.tuning.prefix_cache.settings import CacheSettings, in_words, num_bytes
from gps_seg.tuning.prefix_cache.store import Store

# Of the features: what a stored one may differ from one computed now, by its rounding.
ROUNDING = {torch.float16: 1e-2, torch.bfloat16: 3e-2, torch.float32: TOLERANCE}


@dataclass
class Filled:
    """What a filling did: images seen, computed now, and computed again after damage."""

    seen: int = 0
    computed: int = 0
    repaired: int = 0


def check_room(folder: Path, needed: int, present: int, settings: CacheSettings) -> None:
    """Raise ValueError where a cache takes more than its limit, before anything is computed.

    needed: bytes of all records. present: of those that are there already.
    """
    free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.is_dir())).free
    limit = settings.cache_limit
    allowed = (free + present) // 2 if limit is None else num_bytes(limit)
    if needed > allowed:
        what = 'half of the free disk' if limit is None else f'cache_limit={limit!r}'
        raise ValueError(
            f'the prefix cache in {folder} would take {in_words(needed)}, more than '
            f'{in_words(allowed)} ({what}); raise cache_limit, store fewer views or a smaller '
            'dtype, or choose another folder'
        )
    if needed - present > free:
        raise ValueError(
            f'the prefix cache needs {in_words(needed - present)} more in {folder}, where '
            f'{in_words(free)} are free; free some space, or choose another folder'
        )


def fill(
    store: Store,
    prefix: Prefix,
    records: Records,
    batches: Callable[[], Iterable[Tensor]],
    *,
    report: Callable[[Filled], None] | None = None,
) -> Filled:
    """Compute and store what is missing, together with every other process that does the same.

    batches: gives the batches of images (B, C, H, W), the same at every call. A batch of which
        anything is missing is computed whole, so that a filling that was cut short gives the same
        features as one that was not.

    Raises ValueError where stored features are others than those computed now, NotWritten where
    the disk is full.
    """
    filled = Filled()
    checked = False
    names = [path for path, number in prefix.kept for _ in prefix.outputs[path, number].shapes]
    try:
        for wait in (False, True):
            skipped = 0
            for images in batches():
                keys = image_keys(images)
                missing = store.absent(keys)
                filled.seen += 0 if wait else len(keys)
                if not missing and checked:
                    continue
                if not missing:
                    _check_same(store, prefix, records, images, keys)
                    checked = True
                    continue
                with store.claim(keys, wait=wait) as mine:
                    if not mine:
                        skipped += 1
                        continue
                    _compute(store, prefix, records, images, keys, names, filled)
                if report is not None:
                    report(filled)
            if not skipped:
                break
    finally:
        store.finish()
    return filled


def _compute(
    store: Store,
    prefix: Prefix,
    records: Records,
    images: Tensor,
    keys: list[bytes],
    names: list[str],
    filled: Filled,
) -> None:
    store.refresh()  # somebody else may have done it since
    missing = set(store.absent(keys))
    if not missing:
        return
    packed = records.packed(prefix.features(images), names)
    for key, content in zip(keys, packed, strict=True):
        if key in missing:
            filled.repaired += store.is_damaged(key)
            store.append(key, content)
            filled.computed += 1
            missing.discard(key)  # an image may be twice in a batch


def _check_same(
    store: Store, prefix: Prefix, records: Records, images: Tensor, keys: list[bytes]
) -> None:
    """Raise ValueError where the code computes other features now than when they were stored."""
    contents = [content for key in keys if (content := store.read(key)) is not None]
    stored = records.unpacked(contents, images.device)
    for now, before in zip(prefix.features(images), stored, strict=True):
        if not same([now], [before], tolerance=ROUNDING[records.storage]):
            raise ValueError(
                f'the features stored in {store.folder} are not those that the model computes now, '
                'though its weights and settings are the same: the code of the model, or a library '
                f'below it, has changed; remove {store.folder}, and they are computed again'
            )
