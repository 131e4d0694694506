"""An epoch gives the same samples with any number of workers, ranks and batch size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, pseudo_collate
from torch.utils.data import DataLoader

from gps_seg.datasets import EpochSampler, MaskFolderDataset

KEYS = ('img_path', 'ori_shape', 'img_shape', 'draw', 'box_prompt')
PIPELINE: list[dict[str, Any]] = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='SquashResize'),
    dict(
        type='Augment',
        transforms=[
            dict(type='HorizontalFlip', p=0.5),
            dict(type='Affine', rotate=(-90, 90), p=1.0),
        ],
    ),
    dict(type='BoxPrompt', jitter=0.1),
    dict(type='PackSegInputs', meta_keys=KEYS),
]


@pytest.fixture
def dataset(make_folder: Callable[..., Path]) -> MaskFolderDataset:
    return MaskFolderDataset(root=str(make_folder(5)), image_size=32, pipeline=PIPELINE)


def two_epochs(dataset: MaskFolderDataset, **options: Any) -> dict[tuple[int, ...], torch.Tensor]:
    """Image, mask and box of every draw of two epochs."""
    sampler = EpochSampler(dataset, shuffle=True, seed=11)
    loader: DataLoader[Any] = DataLoader(
        dataset, sampler=sampler, collate_fn=pseudo_collate, **options
    )
    seen = {}
    for epoch in range(2):
        sampler.set_epoch(epoch)
        for batch in loader:
            for image, data in zip(batch['inputs'], batch['data_samples'], strict=True):
                box = torch.tensor(data.box_prompt)
                seen[data.draw] = torch.cat([image.flatten(), data.gt_sem_seg.data.flatten(), box])
    return seen


def test_samples_do_not_depend_on_workers_their_persistence_or_the_batch_size(
    dataset: MaskFolderDataset,
) -> None:
    alone = two_epochs(dataset, batch_size=1)
    assert sorted(alone) == [(11, epoch, index) for epoch in (0, 1) for index in range(5)]
    workers = two_epochs(dataset, batch_size=2, num_workers=2, persistent_workers=True)
    assert list(workers) == list(alone)
    for draw, pixels in alone.items():
        assert torch.equal(workers[draw], pixels)
        other_epoch = alone[(draw[0], 1 - draw[1], draw[2])]
        assert not torch.equal(other_epoch, pixels)


@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('world_size', [1, 2, 3])
def test_draws_follow_the_order_of_mmengine_on_every_rank(
    world_size: int, shuffle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in range(world_size):
        monkeypatch.setattr(
            'mmengine.dataset.sampler.get_dist_info', lambda r=rank: (r, world_size)
        )
        ours = EpochSampler(range(10), shuffle=shuffle, seed=4)
        theirs = DefaultSampler(range(10), shuffle=shuffle, seed=4)
        for epoch in (0, 3):
            ours.set_epoch(epoch)
            theirs.set_epoch(epoch)
            assert list(ours) == [(4, epoch, index) for index in theirs]
            assert len(ours) == len(theirs)


def test_an_epoch_that_was_begun_keeps_its_number() -> None:
    sampler = EpochSampler(range(3), shuffle=False, seed=0)
    begun = iter(sampler)
    sampler.set_epoch(1)
    assert list(begun) == [(0, 0, 0), (0, 0, 1), (0, 0, 2)]
    assert [draw[1] for draw in sampler] == [1, 1, 1]


def test_a_packed_sample_is_what_the_model_takes(dataset: MaskFolderDataset) -> None:
    sample = dataset[(0, 0, 3)]
    data = sample['data_samples']
    assert sample['inputs'].shape == (3, 32, 32)
    assert sample['inputs'].dtype == torch.uint8
    assert data.gt_sem_seg.data.shape == (1, 32, 32)
    assert data.gt_sem_seg.data.dtype == torch.int64
    assert set(data.gt_sem_seg.data.unique().tolist()) == {0, 1}
    assert (data.ori_shape, data.img_shape, data.draw) == ((40, 60), (32, 32), (0, 0, 3))
    assert np.shape(data.box_prompt) == (4,)
