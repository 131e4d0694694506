"""Squash-resizing and box prompts agree on where a pixel lies."""

from typing import Any

import numpy as np
import pytest

from gps_seg.datasets import BoxPrompt, SquashResize
from gps_seg.datasets.resize import squash


def test_shrinking_by_a_whole_number_averages_blocks() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    expected = image.reshape(8, 4, 8, 6, 3).mean(axis=(1, 3))
    assert np.abs(squash(image, 8, 8) - expected).max() <= 0.5 + 1e-9


def test_shrinking_does_not_alias() -> None:
    """A one-pixel checkerboard is grey from afar, whatever the size."""
    board = np.indices((120, 150)).sum(0) % 2 * 255
    small = squash(np.dstack([board] * 3).astype(np.uint8), 32, 32).astype(float)
    assert np.abs(small - 127.5).max() < 16


@pytest.mark.parametrize('shape', [(20, 30), (64, 64), (200, 30), (30, 200), (200, 300)])
def test_a_ramp_stays_a_ramp_at_any_size(shape: tuple[int, int]) -> None:
    """Pixel centres are kept: the value at x is that of the original at the same place."""
    height, width = shape
    ramp = np.linspace(0, 255, width)[None].repeat(height, 0)
    small = squash(np.dstack([ramp] * 3).astype(np.uint8), 64, 64)[32, 4:-4, 0]
    centres = ((np.arange(64) + 0.5) / 64 * width - 0.5)[4:-4]
    assert np.abs(small - centres / (width - 1) * 255).max() < 3


def results(mask: np.ndarray, image_shape: tuple[int, int], **more: Any) -> dict[str, Any]:
    return {'img': np.zeros((*image_shape, 3), np.uint8), 'gt_seg_map': mask, **more}


def test_masks_loaded_before_are_resized_to_the_nearest_pixel() -> None:
    mask = np.random.default_rng(0).integers(0, 2, (48, 80), dtype=np.uint8)
    resized = SquashResize(16)(results(mask, (48, 80), seg_fields=['gt_seg_map']))
    assert resized['img'].shape == (16, 16, 3)
    assert resized['img_shape'] == (16, 16)
    assert resized['scale_factor'] == (16 / 80, 16 / 48)
    np.testing.assert_array_equal(resized['gt_seg_map'], mask[1::3, 2::5])


def test_the_size_comes_from_the_data_set_unless_given() -> None:
    mask = np.zeros((8, 8), np.uint8)
    assert SquashResize()(results(mask, (8, 8), image_size=32))['img'].shape == (32, 32, 3)
    assert SquashResize(16)(results(mask, (8, 8), image_size=32))['img'].shape == (16, 16, 3)
    with pytest.raises(ValueError, match='needs an image_size'):
        SquashResize()(results(mask, (8, 8)))


def rectangle(shape: tuple[int, int], x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[y0 : y1 + 1, x0 : x1 + 1] = 1
    return mask


def test_the_box_is_the_first_and_last_foreground_pixel() -> None:
    mask = rectangle((40, 60), 10, 5, 33, 20)
    assert BoxPrompt(jitter=0)(results(mask, (40, 60)))['box_prompt'] == (10, 5, 33, 20)


def test_a_mask_at_the_original_size_gives_the_box_in_pixels_of_the_input() -> None:
    mask = rectangle((40, 60), 12, 8, 35, 23)
    box = BoxPrompt(jitter=0)(results(mask, (80, 30)))['box_prompt']
    expected = [12 / 2, 8 * 2, 36 / 2, 24 * 2]  # edges, from the same edges of the mask
    edges = np.array(box) + 0.5 + np.array([-0.25, -1, 0.25, 1])
    np.testing.assert_allclose(edges, expected)


def test_an_empty_mask_gives_the_whole_image() -> None:
    mask = np.zeros((40, 60), np.uint8)
    assert BoxPrompt(jitter=0)(results(mask, (40, 60)))['box_prompt'] == (0, 0, 59, 39)


def test_jitter_comes_from_the_draw_and_stays_within_its_share_and_the_image() -> None:
    mask = rectangle((100, 100), 30, 2, 69, 21)
    prompt = BoxPrompt(jitter=0.1)
    boxes = np.array(
        [prompt(results(mask, (100, 100), draw=(0, 0, i)))['box_prompt'] for i in range(300)]
    )
    again = prompt(results(mask, (100, 100), draw=(0, 0, 7)))['box_prompt']
    assert tuple(boxes[7]) == again
    moved = boxes - [30, 2, 69, 21]
    assert np.abs(moved).max(axis=0) == pytest.approx([4, 2, 4, 2], rel=0.05)
    assert np.abs(moved.mean(axis=0)).max() < 0.5
    assert boxes.min() >= 0
    assert np.abs(np.corrcoef(moved.T) - np.eye(4)).max() < 0.25


def test_a_jittered_box_of_one_pixel_keeps_its_corners_in_order() -> None:
    mask = rectangle((10, 10), 9, 0, 9, 0)
    for i in range(50):
        box = BoxPrompt(jitter=0.4)(results(mask, (10, 10), draw=(0, 0, i)))['box_prompt']
        assert 0 <= box[0] <= box[2] <= 9
        assert 0 <= box[1] <= box[3] <= 9


@pytest.mark.parametrize('jitter', [-0.1, 0.5])
def test_a_jitter_out_of_range_is_an_error(jitter: float) -> None:
    with pytest.raises(ValueError, match='share of the box'):
        BoxPrompt(jitter=jitter)
