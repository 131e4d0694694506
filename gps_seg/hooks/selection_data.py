"""The training images as contrastive batches for the selection pass."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import broadcast_object_list, get_dist_info
from mmengine.logging import MMLogger
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gps_seg.hooks.ranks import sum_over_ranks
from gps_seg.methods import TrainingData

NUM_VIEWS = 2
Draw = tuple[int, int, int]


@dataclass(frozen=True)
class SelectionPass:
    """How the selection pass goes over the training split.

    num_images: images to use, drawn by the seed; None for the whole split, as published.
    batch_size: images of one contrastive batch, each in two augmented views.
    micro_batch_size: views that go through the model at once; bounds the memory. None: the
        training's batch size.
    num_workers: loading processes.
    """

    num_images: int | None = None
    batch_size: int = 32
    micro_batch_size: int | None = None
    num_workers: int = 0

    def __post_init__(self) -> None:
        for name in ('num_images', 'batch_size', 'micro_batch_size'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f'selection_pass.{name} must be at least 1, got {value}')

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> 'SelectionPass':
        """From a config. Raises ValueError for a setting that does not exist."""
        known = [field.name for field in fields(cls)]
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise ValueError(
                f'selection_pass has no setting {unknown[0]!r}; it takes {", ".join(known)}'
            )
        return cls(**settings)


def draws_of_batches(num_samples: int, settings: SelectionPass, seed: int) -> list[list[Draw]]:
    """The draws (seed, view, index) of each contrastive batch, both views of each image in one.

    Views are negative epochs, so that no training epoch repeats them.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(num_samples, generator=generator).tolist()[: settings.num_images]
    size = settings.batch_size
    return [
        [(seed, -1 - v, i) for i in order[start : start + size] for v in range(NUM_VIEWS)]
        for start in range(0, len(order), size)
    ]


class ContrastiveBatches:
    """Loads contrastive batches as lists of micro-batches, images still as bytes on the CPU.

    Each rank takes every `num_ranks`-th contrastive batch, whole: together the ranks see those that
    one process would. Where there are fewer batches than ranks, some get none.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: SelectionPass,
        *,
        seed: int,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self.settings = settings
        self.dataset = dataset
        batches = draws_of_batches(len(dataset), settings, seed)  # type: ignore[arg-type]
        self.num_on_all_ranks = len(batches)
        self.batches = batches[rank::num_ranks]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        size = self.settings.micro_batch_size or 1
        micro_batches = [
            batch[start : start + size]
            for batch in self.batches
            for start in range(0, len(batch), size)
        ]
        loader = iter(
            DataLoader(
                self.dataset,
                batch_sampler=micro_batches,
                collate_fn=pseudo_collate,
                num_workers=self.settings.num_workers,
            )
        )
        for batch in self.batches:
            num = -(-len(batch) // size)
            yield [next(loader) for _ in range(num)]


class ProgressLog:
    """Logs the selection pass with the time left, at most every few seconds.

    num_batches: of all ranks together; the other ranks are taken to be as far as this one.
    """

    def __init__(self, num_batches: int, *, num_ranks: int = 1, every_seconds: float = 10) -> None:
        self.num_batches = num_batches
        self.num_ranks = num_ranks
        self.every_seconds = every_seconds
        self.start = self.last = time.monotonic()

    def __call__(self, done: int, loss: float | None) -> None:
        now = time.monotonic()
        done = min(done * self.num_ranks, self.num_batches)
        if now - self.last < self.every_seconds and done != self.num_batches:
            return
        self.last = now
        left = (now - self.start) / done * (self.num_batches - done)
        shown = '' if loss is None else f'loss: {loss:.4f}  '
        MMLogger.get_current_instance().info(
            f'Selection [{done}/{self.num_batches} batches]  {shown}time left: {left:.0f} s'
        )


def selection_data(
    model: Any, dataset: Dataset, settings: SelectionPass, *, seed: int
) -> TrainingData:
    """What a method needs to look at this rank's share of the training images.

    Through `model.embed`, and through the model's own losses.
    """
    if not hasattr(model, 'embed'):
        raise ValueError(
            f'{type(model).__name__} has no method embed(inputs, data_samples), which the '
            'contrastive selection needs; use a model of gps_seg, or a method without data'
        )
    rank, num_ranks = get_dist_info()
    # With MMEngine's `diff_rank_seed` every rank has a seed of its own.
    seeds = [seed]
    broadcast_object_list(seeds)
    batches = ContrastiveBatches(dataset, settings, seed=seeds[0], rank=rank, num_ranks=num_ranks)

    def embed(micro_batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        # Only now to floats on the device: the memory stays that of one micro-batch.
        data = model.data_preprocessor(micro_batch, False)
        return model.embed(data['inputs'], data['data_samples'])

    def loss(micro_batch: dict[str, Any]) -> Tensor:
        # Preprocessed as in training, where images and masks may be padded together.
        data = model.data_preprocessor(micro_batch, True)
        return model.parse_losses(model(**data, mode='loss'))[0]

    progress = ProgressLog(batches.num_on_all_ranks, num_ranks=num_ranks)
    return TrainingData(batches, embed, loss, progress, reduce=sum_over_ranks)
