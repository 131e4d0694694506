"""The training images as contrastive batches for the selection pass."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.dataset import Compose, pseudo_collate
from mmseg.registry import TRANSFORMS
from torch.utils.data import DataLoader, Dataset

from gps_seg.datasets.seeded import SeededDataset
from gps_seg.tuning import SelectionPass

NUM_VIEWS = 2
# Epochs of draws that no training epoch repeats: the views are -1 and -2.
PROBE_EPOCH = -10
Draw = tuple[int, int, int]


def draws_of_batches(num_samples: int, settings: SelectionPass, seed: int) -> list[list[Draw]]:
    """The draws (seed, view, index) of each contrastive batch, both views of each image in one.

    Views are negative epochs, so that no training epoch repeats them.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(num_samples, generator=generator).tolist()[: settings.num_images]
    size = settings.batch_size or len(order)
    if settings.drop_last:
        if len(order) < size:
            raise ValueError(
                f'selection_pass.drop_last leaves nothing of {len(order)} images in batches of '
                f'{size}; set a smaller batch_size'
            )
        order = order[: len(order) // size * size]
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
        if settings.pipeline is not None:
            dataset = with_pipeline(dataset, settings.pipeline)
        self.dataset = SeededDataset(dataset, seed)
        batches = draws_of_batches(len(self.dataset), settings, seed)
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


def with_pipeline(dataset: Any, steps: Sequence[Mapping[str, Any]]) -> Any:
    """A data set, itself untouched, whose samples are made by other steps.

    Reaches through wrappers (ConcatDataset, ClassBalancedDataset, ...). Raises ValueError for a
    data set that has no pipeline.
    """
    other = copy.copy(dataset)
    if hasattr(dataset, 'pipeline'):
        other.pipeline = Compose([TRANSFORMS.build(dict(step)) for step in steps])
    elif hasattr(dataset, 'datasets'):
        other.datasets = [with_pipeline(part, steps) for part in dataset.datasets]
    elif hasattr(dataset, 'dataset'):
        other.dataset = with_pipeline(dataset.dataset, steps)
    else:
        raise ValueError(
            f'{type(dataset).__name__} has no pipeline that selection_pass.pipeline could stand '
            'for; leave it out, and the views are those of the training'
        )
    return other
