"""Contrastive batches from any loader of (images, labels)."""

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]


class PairBatches:
    """The batches of a loader, cut into micro-batches and moved to a device.

    loader: yields (images, labels), one contrastive batch each: images (B, ...), or a list of views
        of the same images, each (B, ...), as GPS uses two; labels (B,), or whatever the embedding
        and the loss take.
    device: where the model is.
    micro_batch_size: images that go through the model at once. None: a whole batch.
    num_images: images to use at most. None: all of the loader's.
    seed: of what a shuffling loader draws. The caller puts the random state back.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        device: torch.device,
        *,
        micro_batch_size: int | None,
        num_images: int | None,
        seed: int,
    ) -> None:
        self.loader = loader
        self.device = device
        self.micro_batch_size = micro_batch_size
        self.limit = num_images
        self.seed = seed
        self.num_images = self.num_done = 0
        self._first: Pair | None = None

    def training_batch(self) -> Pair:
        """The first batch of the loader as training sees it: one view of each image.

        Kept from the pass, where that has begun: a loader may be used up by then.
        """
        if self._first is None:
            next(iter(self))
        assert self._first is not None
        return self._first

    def __iter__(self) -> Iterator[list[Pair]]:
        self.num_images = self.num_done = 0
        random.seed(self.seed)
        np.random.seed(self.seed)
        torch.manual_seed(self.seed)
        for item in self.loader:
            views, labels = _views(item)
            if self._first is None:
                self._first = (views[0].to(self.device), labels.to(self.device))
            if self.limit is not None:
                left = self.limit - self.num_images
                views, labels = [view[:left] for view in views], labels[:left]
            self.num_images += len(labels)
            self.num_done += 1
            images = torch.cat(views)
            repeated = torch.cat([labels] * len(views))
            size = self.micro_batch_size or len(images)
            yield [
                (part.to(self.device), part_labels.to(self.device))
                for part, part_labels in zip(images.split(size), repeated.split(size), strict=True)
            ]
            if self.num_images == self.limit:
                return
        if not self.num_done:
            raise ValueError(
                'the loader gave no batch; is the data set empty, the batch larger than it '
                '(drop_last), or the loader an iterator that is used up already?'
            )


def _views(item: Any) -> tuple[list[Tensor], Tensor]:
    if isinstance(item, Mapping) or not isinstance(item, list | tuple) or len(item) != 2:
        raise ValueError(
            'the loader must yield pairs (images, labels) with images a tensor or a list of views, '
            f'got {_kind(item)}; give a loader, or a generator, that yields such pairs'
        )
    images, labels = item
    views = list(images) if isinstance(images, list | tuple) else [images]
    try:
        labels = torch.as_tensor(labels)
    except (TypeError, ValueError) as error:
        raise ValueError(f'the labels of the loader must be numbers ({error})') from error
    for view in views:
        if not isinstance(view, Tensor) or len(view) != len(labels):
            shape = tuple(view.shape) if isinstance(view, Tensor) else type(view).__name__
            raise ValueError(
                f'the loader gave {len(labels)} labels for images {shape}; each view must be a '
                'tensor with one image for each label'
            )
    return views, labels


def _kind(item: Any) -> str:
    """What a loader gave instead of a pair."""
    if isinstance(item, Mapping):
        return f'{type(item).__name__} with the keys {", ".join(map(str, item))}'
    if isinstance(item, list | tuple):
        return f'{type(item).__name__} of {len(item)}'
    return type(item).__name__
