"""The prefix cache of any loop of training in plain Python."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gps_seg.selection import preserved
from gps_seg.tuning.prefix_cache.cache import PrefixCache
from gps_seg.tuning.prefix_cache.keeping import LOGGER, keep_prefix
from gps_seg.tuning.prefix_cache.settings import CacheSettings
from gps_seg.tuning.tuning import Tuning

NUM_TURNED = 8


def turned(images: Tensor, view: int) -> Tensor:
    """One of the eight flips and turns of square images or masks (..., H, W); view 0 changes none.

    view: 0 to 7: so many quarter turns, from 4 on of the mirror image.
    """
    if not 0 <= view < NUM_TURNED:
        raise ValueError(f'view must be 0 to {NUM_TURNED - 1}, got {view}')
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(
            f'quarter turns need square images, got {tuple(images.shape[-2:])}; resize them first'
        )
    mirrored = images.flip(-1) if view >= NUM_TURNED // 2 else images
    return torch.rot90(mirrored, view % (NUM_TURNED // 2), (-2, -1)).contiguous()


def cache_prefix(
    tuning: Tuning,
    loader: Iterable[Any],
    *,
    views: int = 1,
    dtype: str = 'float16',
    folder: str | Path | None = None,
    cache_limit: int | float | str | None = None,
    logger: logging.Logger = LOGGER,
) -> PrefixCache:
    """Store what the frozen prefix of a model gives for every image, then train on that.

        tuning = gps_seg.tune(model, plan='plan.safetensors', train_from=0.5)
        with gps_seg.cache_prefix(tuning, loader, views=8):
            ...  # any training: model(turned(images, view))

    tuning: of a method with `train_from`, or of one that trains the head alone.
    loader: yields (images, labels) or images, the same at every pass: images (B, C, H, W), or a
        list of stored augmentations of them, as the model gets them. Without any random draw.
    views: how many of the eight flips and turns of each image are stored: 1, only the image itself,
        or 8, all that `turned` gives.
    dtype, folder, cache_limit: see `CacheSettings`.

    In training mode with gradients on, the model then computes no prefix, and takes only images
    that are stored; elsewhere it is as ever. Under autocast, call this within it as well.

    Raises ValueError, naming cause and next step, where the prefix cannot be cached or takes too
    much room; NotWritten where the disk is full.
    """
    if views not in (1, NUM_TURNED):
        raise ValueError(
            f'views must be 1, or {NUM_TURNED} for all flips and turns, got {views!r}; for others, '
            'let the loader yield a list of stored augmentations'
        )
    settings = CacheSettings(views=views, dtype=dtype, folder=folder, cache_limit=cache_limit)
    if not isinstance(loader, Iterable) or isinstance(loader, Iterator):
        raise ValueError(
            'the loader must give the same images at every pass, such as a torch DataLoader '
            f'without shuffling, or a list of pairs; got {type(loader).__name__}'
        )
    device = next(tuning.model.parameters()).device

    def batches() -> Iterator[Tensor]:
        for images in _images(loader):
            for view in range(views):
                yield turned(images.to(device), view) if views > 1 else images.to(device)

    # A loader draws from the random state when it starts, which the training's order depends on.
    with preserved(tuning.model):
        num_images = views * _num_images(loader)
    return keep_prefix(tuning, batches, num_images=num_images, settings=settings, logger=logger)


def _images(loader: Iterable[Any]) -> Iterator[Tensor]:
    for item in loader:
        images = item[0] if isinstance(item, list | tuple) else item
        for batch in images if isinstance(images, list | tuple) else [images]:
            if not isinstance(batch, Tensor) or batch.dim() != 4:
                told = tuple(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
                raise ValueError(
                    'the loader must yield (images, labels) with images a tensor (B, C, H, W), or '
                    f'a list of such, got {told}'
                )
            yield batch


def _num_images(loader: Iterable[Any]) -> int:
    """Images of a pass, with the views that the loader itself gives."""
    dataset = getattr(loader, 'dataset', None)
    if dataset is not None and hasattr(dataset, '__len__'):
        item = next(iter(loader), None)
        images = item[0] if isinstance(item, list | tuple) else item
        return len(dataset) * (len(images) if isinstance(images, list | tuple) else 1)
    return sum(len(batch) for batch in _images(loader))
