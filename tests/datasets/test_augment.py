"""Augmentation is a function of (seed, epoch, index) and of the position of a transform alone."""

import os
import random
import sys
from typing import Any

import numpy as np
import pytest
import torch

from gps_seg.datasets import Augment
from gps_seg.datasets.draws import next_generator

STRONG = [
    dict(type='HorizontalFlip', p=0.5),
    dict(type='RandomRotate90', p=1.0),
    dict(type='Affine', scale=(0.7, 1.3), rotate=(-30, 30), p=1.0),
    dict(type='ColorJitter', p=1.0),
    dict(type='GaussNoise', p=1.0),
    dict(type='OneOf', transforms=[dict(type='Blur', p=1.0), dict(type='Solarize', p=1.0)], p=0.9),
]


def sample(draw: tuple[int, int, int], size: int = 32) -> dict[str, Any]:
    image = np.random.default_rng(5).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return {'img': image, 'gt_seg_map': (image[..., 0] > 128).astype(np.uint8), 'draw': draw}


def augmented(transform: Augment, draw: tuple[int, int, int]) -> np.ndarray:
    results = transform(sample(draw))
    return np.dstack([results['img'], results['gt_seg_map']])


def test_the_same_draw_gives_the_same_pixels_in_any_order_and_object() -> None:
    draws = [(3, epoch, index) for epoch in (-2, 0, 1) for index in range(4)]
    first = Augment(STRONG)
    forward = {draw: augmented(first, draw) for draw in draws}
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    second = Augment(STRONG)
    for draw in reversed(draws):
        np.testing.assert_array_equal(augmented(second, draw), forward[draw])


def test_seed_epoch_and_index_each_change_the_draw() -> None:
    transform = Augment(STRONG)
    draws = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, -1, 0), (0, -2, 0), (0, 2, 0)]
    pixels = {augmented(transform, draw).tobytes() for draw in draws}
    assert len(pixels) == len(draws)


def test_augmenting_neither_reads_nor_moves_global_random_states() -> None:
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # type: ignore[index]
    augmented(Augment(STRONG), (0, 0, 0))
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # type: ignore[index]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_two_equal_transforms_draw_independently() -> None:
    """Two fair flips undo each other in half of the samples, not in all."""
    transform = Augment([dict(type='HorizontalFlip', p=0.5)] * 2)
    image = sample((0, 0, 0))['img']
    same = [np.array_equal(transform(sample((0, 0, i)))['img'], image) for i in range(400)]
    assert 0.4 < np.mean(same) < 0.6


def test_a_transform_keeps_its_draws_when_one_after_it_changes() -> None:
    flip = dict(type='HorizontalFlip', p=0.5)
    alone, followed = Augment([flip]), Augment([flip, dict(type='VerticalFlip', p=0.0)])
    for index in range(20):
        draw = (0, 0, index)
        np.testing.assert_array_equal(augmented(alone, draw), augmented(followed, draw))


def test_two_augment_steps_do_not_share_their_draws() -> None:
    flip = Augment([dict(type='HorizontalFlip', p=0.5)])
    image = sample((0, 0, 0))['img']
    same = [np.array_equal(flip(flip(sample((0, 0, i))))['img'], image) for i in range(200)]
    assert 0.3 < np.mean(same) < 0.7


def test_image_and_mask_move_together() -> None:
    transform = Augment([*STRONG[:2], dict(type='Affine', scale=(0.8, 1.2), rotate=(-45, 45), p=1)])
    rows, columns = np.mgrid[:96, :96]
    disc = ((rows - 30) ** 2 + (columns - 60) ** 2 < 300).astype(np.uint8)
    for index in range(10):
        image = np.dstack([disc * 255] * 3)
        results = transform({'img': image, 'gt_seg_map': disc, 'draw': (0, 0, index)})
        moved = results['img'][..., 0] > 127
        assert results['gt_seg_map'].dtype == np.uint8
        assert set(np.unique(results['gt_seg_map'])) <= {0, 1}
        assert (moved & (results['gt_seg_map'] > 0)).sum() > 0.9 * moved.sum() > 0


def test_colours_are_red_first_to_albumentations() -> None:
    """Its grey weights red by 0.299 and blue by 0.114."""
    results = sample((0, 0, 0), size=1)
    results['img'] = np.array([[[0, 0, 200]]], np.uint8)  # pure red, blue first
    grey = Augment([dict(type='ToGray', p=1.0)])(results)['img']
    assert np.abs(grey.astype(float) - 0.299 * 200).max() <= 1


@pytest.mark.parametrize(
    'config, message',
    [
        (dict(type='HorizontlFlip'), "no transform 'HorizontlFlip'"),
        (dict(p=0.5), 'no transform None'),
        (dict(type='cv2'), "no transform 'cv2'"),
        (dict(type='HorizontalFlip', prob=0.5), 'HorizontalFlip does not take this: .*prob'),
        (dict(type='HorizontalFlip', p=2.0), 'HorizontalFlip does not take this'),
        (dict(type='OneOf', transforms=[dict(type='Nothing')]), "no transform 'Nothing'"),
    ],
)
def test_unknown_names_and_arguments_are_errors(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augment([config])


def test_a_sample_without_a_draw_is_an_error_that_names_the_next_step() -> None:
    results = sample((0, 0, 0))
    del results['draw']
    with pytest.raises(ValueError, match='use MaskFolderDataset'):
        Augment(STRONG)(results)


def test_importing_albumentations_does_not_ask_the_network() -> None:
    assert 'albumentations' in sys.modules
    assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1'


def test_generators_of_one_sample_differ_and_negative_epochs_have_their_own() -> None:
    results: dict[str, Any] = {'draw': (0, 0, 0)}
    values = [next_generator(results).random() for _ in range(3)]
    others = [next_generator({'draw': (0, epoch, 0)}).random() for epoch in range(-5, 6)]
    assert len(set(values)) == 3
    assert len(set(others)) == 11
    assert values[0] == others[5]
