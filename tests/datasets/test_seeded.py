"""Data sets and samplers of integers: the same samples for the same draws, whoever loads them."""

import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset, DefaultSampler, InfiniteSampler
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from gps_seg.datasets import DrawSampler, MaskFolderDataset, SeededDataset, with_draws

SIZE = 5


class Stock:
    """Knows integers alone, and augments with whatever generator is at hand."""

    metainfo: ClassVar = {'classes': ('a', 'b')}

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> torch.Tensor:
        assert type(index) is int
        python, numpy = random.random(), np.random.rand()
        return torch.tensor([index, python, numpy, torch.rand(()).item()], dtype=torch.float64)


def epochs(num: int, *, workers: int = 0, start: int = 0) -> Iterator[torch.Tensor]:
    """What a loader gives in some epochs, each batch of which holds draws of three generators."""
    sampler = with_draws(DefaultSampler(range(SIZE), shuffle=True, seed=3), seed=3)
    loader: DataLoader = DataLoader(
        SeededDataset(Stock(), seed=3),
        sampler=sampler,
        batch_size=2,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    for epoch in range(start, start + num):
        sampler.set_epoch(epoch)
        yield torch.cat(list(loader))


def test_no_worker_and_two_give_the_same_samples_bit_for_bit() -> None:
    alone = list(epochs(2))
    random.random(), np.random.rand(), torch.rand(3)  # nothing outside matters
    workers = list(epochs(2, workers=2))
    assert all(torch.equal(a, b) for a, b in zip(alone, workers, strict=True))


def test_a_resume_repeats_the_draws_of_its_epoch_and_no_other() -> None:
    first, second = epochs(2)
    (resumed,) = epochs(1, start=1)
    assert torch.equal(second, resumed)
    by_index = [part[part[:, 0].argsort()] for part in (first, second)]
    # No generator repeats a number, in another epoch or for another image.
    for column in (1, 2, 3):
        numbers = torch.cat([part[:, column] for part in by_index])
        assert len(numbers.unique()) == 2 * SIZE


def test_the_random_states_are_as_before_also_after_an_error() -> None:
    class Fails(Stock):
        def __getitem__(self, index: int) -> torch.Tensor:
            super().__getitem__(index)
            raise KeyError(index)

    def states() -> tuple[Any, ...]:
        numpy = np.random.get_state(legacy=False)['state']['key']
        return random.getstate(), numpy.tolist(), torch.get_rng_state().tolist()

    before = states()
    SeededDataset(Stock(), seed=0)[(0, 0, 1)]
    with pytest.raises(KeyError):
        SeededDataset(Fails(), seed=0)[(0, 0, 1)]
    assert states() == before


def test_every_part_of_a_draw_counts_and_an_int_is_a_draw_of_epoch_zero() -> None:
    dataset = SeededDataset(Stock(), seed=7)
    draws = [(7, 0, 2), (8, 0, 2), (7, 1, 2), (7, -1, 2), (7, -2, 2)]
    assert len({dataset[draw][1].item() for draw in draws}) == len(draws)
    assert torch.equal(dataset[2], dataset[(7, 0, 2)])
    assert torch.equal(dataset[np.int64(2)], dataset[2])


def test_length_attributes_and_pickling_are_those_of_the_dataset() -> None:
    dataset = SeededDataset(Stock(), seed=7)
    copy = pickle.loads(pickle.dumps(dataset))
    assert (len(copy), copy.metainfo) == (SIZE, Stock.metainfo)
    assert torch.equal(copy[1], dataset[1])
    assert not hasattr(copy, 'full_init')


@pytest.fixture
def flipped(make_folder: Callable[..., Path]) -> MaskFolderDataset:
    steps = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='SquashResize')]
    turns = dict(type='Augment', transforms=[dict(type='Affine', rotate=(-90, 90), p=1.0)])
    return MaskFolderDataset(root=str(make_folder(4)), image_size=16, pipeline=[*steps, turns])


def test_a_dataset_that_takes_draws_gets_them(flipped: MaskFolderDataset) -> None:
    ours, theirs = SeededDataset(flipped, seed=1)[(5, 6, 2)], flipped[(5, 6, 2)]
    assert ours['draw'] == (5, 6, 2)
    np.testing.assert_array_equal(ours['img'], theirs['img'])


def test_mask_folders_inside_another_dataset_draw_anew_in_each_epoch(
    flipped: MaskFolderDataset,
) -> None:
    dataset = SeededDataset(ConcatDataset([flipped, flipped]), seed=1)
    images = [dataset[draw]['img'] for draw in ((1, 0, 2), (1, 1, 2), (1, 0, 6), (1, 0, 2))]
    np.testing.assert_array_equal(images[0], images[3])
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])  # the same image, at another place


def test_a_finite_sampler_counts_its_passes_unless_the_epoch_is_named() -> None:
    sampler = with_draws(SequentialSampler(range(2)), seed=4)
    assert len(sampler) == 2
    begun = iter(sampler)
    assert list(sampler) == [(4, 1, 0), (4, 1, 1)]
    assert list(begun) == [(4, 0, 0), (4, 0, 1)]
    sampler.set_epoch(9)
    assert list(sampler) == [(4, 9, 0), (4, 9, 1)]
    assert {draw[2] for draw in with_draws(RandomSampler(range(3)), seed=4)} == {0, 1, 2}


def test_the_order_is_that_of_the_sampler_in_each_epoch() -> None:
    ours = with_draws(DefaultSampler(range(9), shuffle=True, seed=2), seed=0)
    theirs = DefaultSampler(range(9), shuffle=True, seed=2)
    for epoch in (0, 5):
        ours.set_epoch(epoch)
        theirs.set_epoch(epoch)
        assert list(ours) == [(0, epoch, index) for index in theirs]


@pytest.mark.parametrize('world_size', [1, 2, 3])
def test_an_endless_sampler_counts_how_often_all_ranks_went_over_the_data(
    world_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for rank in range(world_size):
        monkeypatch.setattr(
            'mmengine.dataset.sampler.get_dist_info', lambda r=rank: (r, world_size)
        )
        sampler = with_draws(InfiniteSampler(range(SIZE), seed=1), seed=8)
        ours = iter(sampler)
        drawn = [next(ours) for _ in range(3 * SIZE)]
        seen += drawn
        resumed = with_draws(InfiniteSampler(range(SIZE), seed=1), seed=8)
        resumed.skip(7)  # type: ignore[attr-defined]
        going_on = iter(resumed)
        assert [next(going_on) for _ in range(8)] == drawn[7:]
    # 3 * SIZE draws a rank: each epoch holds every image once.
    expected = [(8, epoch, index) for epoch in range(3 * world_size) for index in range(SIZE)]
    assert sorted(seen) == expected


def test_only_an_endless_sampler_can_be_skipped() -> None:
    # MMEngine asks for the attribute, and else loads what it skips.
    assert not hasattr(DrawSampler(SequentialSampler(range(2)), seed=0), 'skip')
