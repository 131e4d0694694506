"""The training images as contrastive batches for the selection pass."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

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


def draws_of_batches(num_samples: int, settings: SelectionPass, seed: int) -> list[list[Draw]]:
    """The draws (seed, view, index) of each contrastive batch, both views of each image in one.

    Views are negative epochs, so that no training epoch repeats them.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(num_samples, generator=generator).tolist()[: settings.num_images]
    size = settings.batch_size
    return [
        [(seed, -1 - view, index) for index in order[start : start + size] for view in range(2)]
        for start in range(0, len(order), size)
    ]


class ContrastiveBatches:
    """Loads contrastive batches as lists of preprocessed micro-batches."""

    def __init__(
        self, dataset: Dataset, preprocess: Any, settings: SelectionPass, *, seed: int
    ) -> None:
        self.preprocess = preprocess
        self.settings = settings
        self.dataset = dataset
        self.batches = draws_of_batches(len(dataset), settings, seed)  # type: ignore[arg-type]

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
            yield [self.preprocess(next(loader), False) for _ in range(num)]


class ProgressLog:
    """Logs the selection pass with the time left, at most every few seconds."""

    def __init__(self, num_batches: int, *, every_seconds: float = 10) -> None:
        self.num_batches = num_batches
        self.every_seconds = every_seconds
        self.start = self.last = time.monotonic()

    def __call__(self, done: int, loss: float) -> None:
        now = time.monotonic()
        if now - self.last < self.every_seconds and done != self.num_batches:
            return
        self.last = now
        left = (now - self.start) / done * (self.num_batches - done)
        MMLogger.get_current_instance().info(
            f'Selection [{done}/{self.num_batches} batches]  contrastive loss: {loss:.4f}  '
            f'time left: {left:.0f} s'
        )


def selection_data(
    model: Any, dataset: Dataset, settings: SelectionPass, *, seed: int
) -> TrainingData:
    """What a method needs to look at the training images through `model.embed`."""
    if not hasattr(model, 'embed'):
        raise ValueError(
            f'{type(model).__name__} has no method embed(inputs, data_samples), which the '
            'contrastive selection needs; use a model of gps_seg, or a method without data'
        )
    batches = ContrastiveBatches(dataset, model.data_preprocessor, settings, seed=seed)

    def embed(micro_batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return model.embed(micro_batch['inputs'], micro_batch['data_samples'])

    return TrainingData(_as_sequences(batches), embed, ProgressLog(len(batches)))


def _as_sequences(batches: ContrastiveBatches) -> Iterator[Sequence[dict[str, Any]]]:
    yield from batches
