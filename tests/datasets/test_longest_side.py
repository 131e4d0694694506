"""The geometry of stock SAM: resizing by the longer side."""

from typing import Any

import numpy as np
import pytest
from segment_anything.utils.transforms import ResizeLongestSide

from gps_seg.datasets import LongestSideResize
from gps_seg.datasets.longest_side import longest_side_shape

SHAPES = [(50, 70), (70, 50), (64, 64), (33, 100), (531, 622), (1072, 1920), (7, 5)]


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('size', [64, 256])
def test_pixels_and_shapes_are_those_of_segment_anything(shape: tuple[int, int], size: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    results = LongestSideResize(size).transform(dict(img=image))
    stock = ResizeLongestSide(size)
    np.testing.assert_array_equal(results['img'], stock.apply_image(image))
    assert longest_side_shape(*shape, size) == results['img_shape'] == results['img'].shape[:2]


@pytest.mark.parametrize('shape', SHAPES)
def test_points_and_boxes_are_scaled_as_in_segment_anything(shape: tuple[int, int]) -> None:
    results = LongestSideResize(256).transform(dict(img=np.zeros((*shape, 3), np.uint8)))
    stock = ResizeLongestSide(256)
    points = np.random.default_rng(1).uniform(0, 1, (6, 2)) * shape[::-1]
    scale = np.array(results['scale_factor'])
    np.testing.assert_allclose(points * scale, stock.apply_coords(points, shape))
    boxes = np.concatenate([points[:3], points[3:]], axis=1)
    np.testing.assert_allclose(boxes * np.tile(scale, 2), stock.apply_boxes(boxes, shape))


def test_masks_go_with_the_image_and_keep_their_values() -> None:
    mask = np.zeros((40, 80), np.uint8)
    mask[10:30, 20:60] = 1
    objects = mask.astype(np.uint16) * 700
    results: dict[str, Any] = dict(
        img=np.dstack([mask * 255] * 3),
        gt_seg_map=mask,
        gt_object_map=objects,
        seg_fields=['gt_seg_map', 'gt_object_map'],
        image_size=160,
    )
    resized = LongestSideResize().transform(results)
    expected = np.zeros((80, 160), np.uint8)
    expected[20:60, 40:120] = 1
    np.testing.assert_array_equal(resized['gt_seg_map'], expected)
    np.testing.assert_array_equal(resized['gt_object_map'], expected.astype(np.uint16) * 700)


def test_a_size_is_needed() -> None:
    with pytest.raises(ValueError, match='needs an image_size'):
        LongestSideResize().transform(dict(img=np.zeros((4, 4, 3), np.uint8)))
