"""Large images, window by window."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

import gps_seg
from gps_seg.prediction.pipeline import Pixels
from gps_seg.prediction.windows import Window, over_windows
from tests.prediction.conftest import Runs


def of_each_pixel(windows: Sequence[Pixels]) -> Tensor:
    """What depends on a pixel alone, and not on the window that it lies in."""
    foreground = torch.stack([torch.from_numpy(w[..., 0].astype(np.float32)) for w in windows])
    return torch.stack([1 - foreground / 255, foreground / 255], dim=1)


@pytest.mark.parametrize('size', [(70, 50), (20, 90), (33, 33), (10, 12)])
@pytest.mark.parametrize('overlap', [0.0, 0.5])
def test_what_depends_on_pixels_alone_comes_back_whole(
    size: tuple[int, int], overlap: float
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    made = over_windows(of_each_pixel, image, Window(32, overlap, batch_size=3))
    assert made.shape == (2, *size)
    np.testing.assert_allclose(made[1], image[..., 0] / 255, atol=1e-5)
    np.testing.assert_allclose(made.sum(dim=0), 1, atol=1e-6)


def test_every_window_is_of_the_size_and_none_is_larger_than_the_batch() -> None:
    seen: list[tuple[int, ...]] = []

    def predict(windows: Sequence[Pixels]) -> Tensor:
        seen.append((len(windows), *windows[0].shape))
        assert windows[0].dtype == np.uint8
        return of_each_pixel(windows)

    over_windows(predict, np.zeros((80, 40, 3), np.uint8), Window(32, 0.0, batch_size=4))
    assert sum(num for num, *_ in seen) == 3 * 2
    assert {shape[1:] for shape in seen} == {(32, 32, 3)}
    assert max(num for num, *_ in seen) <= 4


def test_images_no_larger_than_a_window_are_predicted_whole(runs: Runs) -> None:
    image = runs.images[0]
    whole = gps_seg.load(runs.sam, device='cpu')(image)
    height, width = whole.mask.shape
    same = gps_seg.load(runs.sam, device='cpu', window=max(height, width))(image)
    np.testing.assert_array_equal(same.probabilities, whole.probabilities)
    cut = gps_seg.load(runs.sam, device='cpu', window=48)(image)
    assert cut.mask.shape == whole.mask.shape
    assert not np.array_equal(cut.probabilities, whole.probabilities)
    np.testing.assert_array_equal(cut.mask, cut.probabilities[1] > 0.5)
    blended = gps_seg.load(runs.one_channel, device='cpu', window=48)(image)
    np.testing.assert_array_equal(blended.mask, blended.probabilities[1] > np.float32(0.3))
