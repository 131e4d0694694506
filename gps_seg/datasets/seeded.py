"""Draws (seed, epoch, index) for data sets and samplers that know of integers alone."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, SupportsIndex

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from torch.utils.data import Dataset, Sampler

from gps_seg.datasets.draws import OUTER_DRAW, Draw, draw_words


@contextmanager
def seeded(draw: Draw) -> Iterator[None]:
    """Seed python, numpy and torch on the CPU by a draw; afterwards their states are as before."""
    words = np.random.SeedSequence(draw_words(draw)).generate_state(4)
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(int(words[0]))
        np.random.seed(words[1:3])
        # Not torch.manual_seed, which would seed the GPU as well.
        torch.default_generator.manual_seed(int(words[3]))
        outer = OUTER_DRAW.set(draw)
        try:
            yield
        finally:
            OUTER_DRAW.reset(outer)
            random.setstate(python)
            np.random.set_state(numpy)


class SeededDataset(Dataset):
    """Any data set, indexed by draws (seed, epoch, index): equal draws give equal samples.

    A data set that takes draws (`takes_draws = True`, as MaskFolderDataset) gets them. Around any
    other, python, numpy and torch are seeded from the draw while `dataset[index]` runs, so that the
    number of workers, their order and a resume change nothing. A MaskFolderDataset inside of it (of
    a ConcatDataset) sees the draw too. Generators that a data set keeps for itself are beyond that:
    it must take draws, or draw from the three.

    dataset: indexed by an int; its attributes (`metainfo`, ...) are those of this one too.
    seed: of the draw (seed, 0, index) for which an int stands.
    """

    takes_draws = True

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: SupportsIndex | Draw) -> Any:
        draw = index if isinstance(index, tuple) else (self.seed, 0, int(index))
        if getattr(self.dataset, 'takes_draws', False):
            return self.dataset[draw]
        with seeded(draw):
            return self.dataset[draw[2]]

    def __getattr__(self, name: str) -> Any:
        # While it is unpickled there is no data set yet.
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)


class DrawSampler(Sampler):
    """Turns the integers of a finite sampler into draws (seed, epoch, index).

    The epoch is that of `set_epoch`, as runners call it; it counts the passes if nobody does.

    sampler: yields integers; its `set_epoch`, if it has one, is called too.
    seed: the first number of every draw, the same on all ranks.
    """

    def __init__(self, sampler: Any, seed: int) -> None:
        self.sampler, self.seed, self.epoch = sampler, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch of the next pass."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Draw]:
        # Not a generator itself: a pass that starts while another is drawn keeps its number.
        epoch, self.epoch = self.epoch, self.epoch + 1
        return ((self.seed, epoch, int(index)) for index in self.sampler)


class EndlessDrawSampler(DrawSampler):
    """The same for MMEngine's InfiniteSampler, whose one endless order the ranks share.

    The epoch is the number of times that all ranks together have gone over the data.
    """

    position = 0  # integers that this rank was given

    def __iter__(self) -> Iterator[Draw]:
        for index in self.sampler:
            # Rank r of n has the places r, r + n, r + 2 n, ... of the order.
            place = self.sampler.rank + self.position * self.sampler.world_size
            self.position += 1
            yield self.seed, place // self.sampler.size, int(index)

    def skip(self, num_samples: int) -> None:
        """Go to an absolute position of this rank, as MMEngine does to resume."""
        self.sampler.skip(num_samples)
        self.position = num_samples


def with_draws(sampler: Any, seed: int) -> DrawSampler:
    """The sampler, made to yield draws (seed, epoch, index)."""
    endless = isinstance(sampler, InfiniteSampler)
    return (EndlessDrawSampler if endless else DrawSampler)(sampler, seed)
