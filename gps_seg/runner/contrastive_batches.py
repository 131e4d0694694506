"""The training images as contrastive batches for the selection pass."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gps_seg.methods import TrainingData
from gps_seg.runner.ranks import sum_over_ranks
from gps_seg.selection.passes import Progress, Stop

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
    stop_agreement: end the pass once the selection agrees so far with the last one, as a share of
        the entries in (0, 1]. None: go over all images, as published.
    check_every: batches between two such comparisons.
    """

    num_images: int | None = None
    batch_size: int = 32
    micro_batch_size: int | None = None
    num_workers: int = 0
    stop_agreement: float | None = None
    check_every: int = 5

    def __post_init__(self) -> None:
        for name in ('num_images', 'batch_size', 'micro_batch_size', 'check_every'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f'selection_pass.{name} must be at least 1, got {value}')
        if self.stop_agreement is not None and not 0 < self.stop_agreement <= 1:
            raise ValueError(
                f'selection_pass.stop_agreement must be in (0, 1], got {self.stop_agreement}; '
                'leave it out to go over all images'
            )

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

    After or during an iteration: `num_done` batches were handed out, of `num_images` images.
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
        self.num_done = self.num_images = 0

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
        self.num_done = self.num_images = 0
        for batch in self.batches:
            num = -(-len(batch) // size)
            self.num_done += 1
            self.num_images += len({index for _, _, index in batch})
            yield [next(loader) for _ in range(num)]


def selection_data(
    model: Any,
    batches: ContrastiveBatches,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> TrainingData:
    """What a method needs to look at this rank's share of the training images.

    Through `model.embed`, and through the model's own losses.
    """
    if not hasattr(model, 'embed'):
        raise ValueError(
            f'{type(model).__name__} has no method embed(inputs, data_samples), which the '
            'contrastive selection needs; use a model of gps_seg, or a method without data'
        )

    def embed(micro_batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        # Only now to floats on the device: the memory stays that of one micro-batch.
        data = model.data_preprocessor(micro_batch, False)
        return model.embed(data['inputs'], data['data_samples'])

    def loss(micro_batch: dict[str, Any]) -> Tensor:
        # Preprocessed as in training, where images and masks may be padded together.
        data = model.data_preprocessor(micro_batch, True)
        return model.parse_losses(model(**data, mode='loss'))[0]

    return TrainingData(batches, embed, loss, progress=progress, reduce=sum_over_ranks, stop=stop)
