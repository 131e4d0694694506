"""Images come to the model as torchvision and Pillow make them."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.functional import center_crop, resize, resized_crop

from gps_seg.datasets import (
    Augment,
    CenterCropTo,
    PackImage,
    RandomResizedCrop,
    ResizeShort,
    SquashTo,
)
from gps_seg.datasets.classification.transforms import random_part

SHAPES = [(37, 91), (91, 37), (256, 341), (32, 32), (500, 333)]
BICUBIC = InterpolationMode.BICUBIC


def sample(height: int, width: int, draw: tuple[int, int, int] = (0, 0, 0)) -> dict[str, Any]:
    image = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return {'img': image, 'img_path': 'a.png', 'img_shape': (height, width), 'draw': draw}


@pytest.mark.parametrize('shape', SHAPES)
def test_evaluation_equals_that_of_torchvision_on_pillow_images(shape: tuple[int, int]) -> None:
    image = sample(*shape)['img']
    expected = np.asarray(center_crop(resize(Image.fromarray(image), 248, BICUBIC), [224, 224]))
    results = CenterCropTo(224)(ResizeShort(248)(sample(*shape)))
    np.testing.assert_array_equal(results['img'], expected)
    assert results['img_shape'] == (224, 224)


@pytest.mark.parametrize('shape', SHAPES)
def test_evaluation_is_within_two_grey_levels_of_antialiased_tensors(
    shape: tuple[int, int],
) -> None:
    # On pure noise, bicubic overshoots the range; where it is clipped depends on the order of axes.
    image = cv2.blur(sample(*shape)['img'], (5, 5))
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    expected = v2.functional.resize(tensor, [224, 224], BICUBIC, antialias=True)
    squashed = SquashTo(224)({'img': image})['img']
    difference = np.abs(squashed.astype(int) - expected.permute(1, 2, 0).numpy().astype(int))
    assert difference.max() <= 2
    assert difference.mean() < 0.5


def test_shrinking_averages_where_opencv_and_albumentations_would_skip_pixels() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    small = SquashTo(32)({'img': stripes})['img'][4:-4, 4:-4]
    assert small.min() >= 120 and small.max() <= 135


def test_sizes_come_from_the_data_set_and_248_belongs_to_224() -> None:
    results = {**sample(300, 400), 'image_size': 224}
    assert ResizeShort()(results)['img'].shape == (248, 330, 3)
    assert CenterCropTo()(results)['img'].shape == (224, 224, 3)
    assert SquashTo()({**sample(30, 40), 'image_size': 16})['img'].shape == (16, 16, 3)
    assert RandomResizedCrop()({**sample(30, 40), 'image_size': 16})['img'].shape == (16, 16, 3)


def test_a_random_part_is_resized_as_torchvision_resizes_it() -> None:
    for index in range(20):
        draw = (1, 2, index)
        generator = np.random.default_rng([2, 4, 2 * index, 0])
        part = random_part(120, 90, generator, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3))
        image = Image.fromarray(sample(120, 90)['img'])
        expected = resized_crop(image, *part, [64, 64], BICUBIC)
        cropped = RandomResizedCrop(64)(sample(120, 90, draw))['img']
        np.testing.assert_array_equal(cropped, np.asarray(expected))


def test_random_parts_are_distributed_as_those_of_torchvision() -> None:
    """Means of share, proportions and place over 4000 draws, within four standard errors."""
    height, width, count = 200, 150, 4000
    generator = np.random.default_rng(0)
    settings = dict(scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3))
    ours = np.array([random_part(height, width, generator, **settings) for _ in range(count)])
    image = torch.empty(3, height, width)
    torch.manual_seed(0)
    draw = v2.RandomResizedCrop(8, (0.08, 1.0)).make_params
    theirs = np.array([_part(draw([image])) for _ in range(count)])
    for measure in (
        lambda p: p[:, 2] * p[:, 3] / (height * width),
        lambda p: np.log(p[:, 3] / p[:, 2]),
        lambda p: p[:, 0] / height,
        lambda p: p[:, 1] / width,
    ):
        a, b = measure(ours.astype(float)), measure(theirs.astype(float))
        spread = np.sqrt((a.var() + b.var()) / count)
        assert abs(a.mean() - b.mean()) < 4 * spread
        assert abs(a.std() - b.std()) < 0.05


def _part(parameters: dict[str, int]) -> tuple[int, int, int, int]:
    return tuple(parameters[name] for name in ('top', 'left', 'height', 'width'))  # type: ignore[return-value]


def test_a_part_that_never_fits_is_the_middle_one_as_in_torchvision() -> None:
    for height, width in ((10, 200), (200, 10), (50, 50)):
        never = dict(scale=(1.0, 1.0), ratio=(3 / 4, 3 / 4 + 1e-9))
        expected = v2.RandomResizedCrop(8, **never).make_params([torch.empty(3, height, width)])
        part = random_part(height, width, np.random.default_rng(0), **never)
        assert part == _part(expected)


def test_a_crop_depends_on_seed_epoch_and_index_alone() -> None:
    crop = RandomResizedCrop(16)
    draws = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, -1, 0)]
    first = [crop(sample(60, 80, draw))['img'].tobytes() for draw in draws]
    assert len(set(first)) == len(draws)
    assert first == [crop(sample(60, 80, draw))['img'].tobytes() for draw in draws]


def test_images_without_masks_are_augmented_in_the_same_way_as_with_them() -> None:
    views = [
        dict(type='HorizontalFlip', p=0.5),
        dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
        dict(type='ToGray', p=0.2),
    ]
    augment = Augment(views)
    for index in range(8):
        alone = augment(sample(24, 24, (0, -1, index)))
        mask = np.zeros((24, 24), np.uint8)
        both = augment({**sample(24, 24, (0, -1, index)), 'gt_seg_map': mask})
        np.testing.assert_array_equal(alone['img'], both['img'])
        assert 'gt_seg_map' not in alone


def test_packing_keeps_bytes_blue_first_and_what_is_known_of_the_sample() -> None:
    results = {**sample(5, 7, (3, 1, 2)), 'gt_label': 4, 'ori_shape': (50, 70), 'sample_idx': 2}
    packed = PackImage()(dict(results))
    np.testing.assert_array_equal(packed['inputs'].numpy(), results['img'].transpose(2, 0, 1))
    assert packed['inputs'].dtype == torch.uint8
    data = packed['data_samples']
    assert data.gt_label.dtype == torch.int64 and data.gt_label.shape == () and data.gt_label == 4
    assert (data.img_path, data.ori_shape, data.img_shape) == ('a.png', (50, 70), (5, 7))
    assert (data.sample_idx, data.draw) == (2, (3, 1, 2))
    assert 'gt_label' not in PackImage()(sample(5, 7))['data_samples']


@pytest.mark.parametrize(
    'transform, words',
    [
        (lambda: SquashTo(0), 'not 0'),
        (lambda: SquashTo(8, 'cubic'), "no interpolation 'cubic'"),
        (lambda: SquashTo()(sample(4, 4)), 'needs a size'),
        (lambda: CenterCropTo()(sample(4, 4)), 'needs a size'),
        (lambda: CenterCropTo(8)(sample(4, 9)), r'9 x 4 pixels.*put ResizeShort before'),
        (lambda: ResizeShort(8, crop_pct=1.2), 'crop_pct'),
        (lambda: RandomResizedCrop(8, scale=(0.0, 1.0)), 'scale'),
        (lambda: RandomResizedCrop(8, ratio=(2, 1)), 'ratio'),
        (lambda: PackImage()({'img': np.zeros((4, 4, 3), np.float32)}), 'uint8'),
    ],
)
def test_wrong_settings_and_images_are_refused_in_words(transform: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        transform()
