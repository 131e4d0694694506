"""Stored views: a few fixed draws of each image, each as often as the others."""

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, RepeatDataset

from gps_seg.datasets import FlipAndTurn, SeededDataset, StoredViews
from gps_seg.datasets.stored_views import FIRST_VIEW, view_of
from gps_seg.tuning.prefix_cache import turned


class Drawing:
    """Gives its index and a random number, as any stock data set."""

    metainfo = ('a', 'b')

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[int, float]:
        return index, float(torch.rand(()))


class Listed(BaseDataset):
    """The same as a data set of MMEngine."""

    def load_data_list(self) -> list[dict[str, Any]]:
        return [{} for _ in range(3)]

    def prepare_data(self, idx: int) -> tuple[int, float]:
        return idx, float(torch.rand(()))


def test_an_image_has_as_many_views_as_asked_whatever_the_epoch_and_the_seed() -> None:
    views = StoredViews(SeededDataset(Drawing(), seed=7), 4)
    stored = {views.dataset[draw] for draw in views.draws()}
    assert Counter(index for index, _ in stored) == {0: 4, 1: 4, 2: 4}
    seen = {views[seed, epoch, i] for seed in (0, 5) for epoch in range(-9, 40) for i in range(3)}
    assert seen == stored
    assert views[1] in stored and len(views) == 3 and views.metainfo == ('a', 'b')


def test_each_view_comes_once_in_as_many_epochs_in_another_order_each_time() -> None:
    orders = {
        tuple(view_of((seed, 5 * cycle + place, 2), 5) for place in range(5))
        for seed in range(4)
        for cycle in range(4)
    }
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert len(orders) > 10


def test_repetitions_within_an_epoch_share_their_views() -> None:
    repeated = StoredViews(RepeatDataset(Listed(), 3), 2)
    assert len(repeated) == 9 and len(repeated.draws()) == 6
    stored = {repeated.dataset[draw] for draw in repeated.draws()}
    assert {repeated[0, epoch, place] for epoch in range(4) for place in range(9)} == stored
    again = pickle.loads(pickle.dumps(repeated))
    assert again[0, 3, 8] == repeated[0, 3, 8]


def sample(draw: tuple[int, int, int] | None, height: int = 4) -> dict[str, Any]:
    image = np.arange(height * 4 * 3, dtype=np.uint8).reshape(height, 4, 3)
    drawn = {} if draw is None else {'draw': draw}
    return {
        **{'img': image, 'gt_seg_map': image[..., 0].copy(), 'seg_fields': ['gt_seg_map']},
        **drawn,
    }


def test_eight_stored_views_are_the_eight_flips_and_turns_of_image_and_mask() -> None:
    transform = FlipAndTurn()
    for view in range(8):
        result = transform.transform(sample((0, FIRST_VIEW - view, 5)))
        expected = turned(torch.from_numpy(sample(None)['img']).permute(2, 0, 1), view)
        assert np.array_equal(result['img'], expected.permute(1, 2, 0).numpy())
        assert np.array_equal(result['gt_seg_map'], result['img'][..., 0])
    again = transform.transform(sample((0, FIRST_VIEW - 9, 5)))
    assert np.array_equal(again['img'], transform.transform(sample((0, FIRST_VIEW - 1, 5)))['img'])


def test_without_stored_views_the_draw_decides() -> None:
    transform = FlipAndTurn()
    seen = {transform.transform(sample((0, epoch, 5)))['img'].tobytes() for epoch in range(60)}
    assert len(seen) == 8
    with pytest.raises(ValueError, match='square images, got 6 x 4; put it behind SquashResize'):
        transform.transform(sample((0, 0, 0), height=6))
    with pytest.raises(ValueError, match='has no draw'):
        transform.transform(sample(None))
