"""Masks of every encoding give the same 0/1 mask, or an error that names the file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gps_seg.datasets import LoadMask
from gps_seg.datasets.clusters import cluster_threshold

SHAPE = (48, 64)
RED = np.array([0, 0, 255], np.uint8)


def disc() -> np.ndarray:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return ((rows - 20) ** 2 + (columns - 30) ** 2 < 150).astype(np.uint8)


def load(path: Path, **options: Any) -> np.ndarray:
    results = LoadMask(**options)({'seg_map_path': str(path)})
    assert results['seg_fields'] == ['gt_seg_map']
    assert results['gt_seg_map'].dtype == np.uint8
    return results['gt_seg_map']


def with_alpha(mask: np.ndarray) -> np.ndarray:
    """A mask that lies in the alpha channel alone."""
    pixels = np.full((*SHAPE, 4), 255, np.uint8)
    pixels[..., 3] = mask * 255
    return pixels


ENCODINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    '0 and 1': lambda mask: mask,
    '0 and 255': lambda mask: mask * 255,
    '1 and 2': lambda mask: mask + 1,
    '0 and 128': lambda mask: mask * 128,
    '16 bits, 0 and 1': lambda mask: mask.astype(np.uint16),
    '16 bits, 0 and 65535': lambda mask: mask.astype(np.uint16) * 65535,
    'RGB of greys': lambda mask: np.dstack([mask * 255] * 3),
    'RGBA of greys': lambda mask: np.dstack([mask * 255] * 3 + [np.full_like(mask, 255)]),
    'alpha alone': with_alpha,
    'red on black': lambda mask: mask[..., None] * RED,
    'dark 0/1 RGB': lambda mask: mask[..., None] * (RED // 255),
}


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_png_encoding_gives_the_same_mask(
    encoding: str, tmp_path: Path, write_image: Any
) -> None:
    path = write_image(tmp_path / 'mask.png', ENCODINGS[encoding](disc()))
    np.testing.assert_array_equal(load(path), disc())


def test_a_float_tiff_gives_the_same_mask(tmp_path: Path, write_image: Any) -> None:
    path = write_image(tmp_path / 'mask.tif', disc().astype(np.float32))
    np.testing.assert_array_equal(load(path), disc())


@pytest.mark.parametrize(
    'palette, indices',
    [
        ([0, 0, 0, 128, 0, 0], [0, 1]),  # as label tools write it
        ([255, 255, 0, 0, 0, 255], [0, 1]),  # colours mean nothing, indices do
        ([0, 0, 0, 255, 255, 255], [0, 1]),
        ([255, 255, 255, 0, 0, 0], [1, 0]),  # greys mean something, indices do not
    ],
)
def test_palette_masks_are_read_by_colour_index_or_by_grey(
    palette: list[int], indices: list[int], tmp_path: Path
) -> None:
    image = Image.fromarray(np.array(indices, np.uint8)[disc()])
    image.putpalette(palette)
    assert image.mode == 'P'
    image.save(tmp_path / 'mask.png')
    np.testing.assert_array_equal(load(tmp_path / 'mask.png'), disc())


def test_a_one_bit_png_gives_the_same_mask(tmp_path: Path) -> None:
    Image.fromarray(disc() > 0).save(tmp_path / 'mask.png')
    np.testing.assert_array_equal(load(tmp_path / 'mask.png'), disc())


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('quality', [75, 95])
def test_a_jpeg_mask_is_split_between_its_two_clusters(
    quality: int, channels: int, tmp_path: Path
) -> None:
    pixels = np.dstack([disc() * 255] * channels).squeeze()
    Image.fromarray(pixels).save(tmp_path / 'mask.jpg', quality=quality)
    stored = np.asarray(Image.open(tmp_path / 'mask.jpg').convert('L'))
    assert len(np.unique(stored)) > 2  # else this tests nothing
    np.testing.assert_array_equal(load(tmp_path / 'mask.jpg'), disc())


@pytest.mark.parametrize('colour', [(255, 0, 0), (0, 255, 0), (255, 255, 0)])
def test_a_coloured_jpeg_mask_is_split_too(colour: tuple[int, ...], tmp_path: Path) -> None:
    pixels = disc()[..., None] * np.array(colour, np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'mask.jpg', quality=95, subsampling=0)
    np.testing.assert_array_equal(load(tmp_path / 'mask.jpg'), disc())


def test_a_jpeg_mask_saved_again_as_png_is_split_too(tmp_path: Path, write_image: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 17, SHAPE)
    pixels = np.where(disc() > 0, 255 - noise, noise).astype(np.uint8)
    np.testing.assert_array_equal(load(write_image(tmp_path / 'mask.png', pixels)), disc())


@pytest.mark.parametrize(
    'name, value, expected',
    [
        ('a.png', 0, 0),
        ('a.png', 1, 1),
        ('a.png', 255, 1),
        ('a.jpg', 0, 0),
        ('a.jpg', 9, 0),
        ('a.jpg', 246, 1),
        ('a.jpg', 255, 1),
    ],
)
def test_a_mask_of_one_value_is_all_background_or_all_foreground(
    name: str, value: int, expected: int, tmp_path: Path, write_image: Any
) -> None:
    path = write_image(tmp_path / name, np.full(SHAPE, value, np.uint8))
    np.testing.assert_array_equal(load(path), np.full(SHAPE, expected))


def stripes(*values: int) -> np.ndarray:
    """A mask of one horizontal stripe for each value."""
    return np.repeat(np.array(values, np.uint8), 8)[:, None].repeat(24, axis=1)


@pytest.mark.parametrize(
    'pixels, reason',
    [
        (stripes(0, 1, 2), 'more than two clusters'),
        (stripes(0, 1, 5), 'more than two clusters'),
        (stripes(0, 128, 255), 'more than two clusters'),
        (stripes(0, 60, 120, 180, 255), 'more than two clusters'),
        (stripes(0, 1, 255), 'class numbers with 255 for ignored pixels'),
        (stripes(0, 1, 0)[..., None] * RED + stripes(0, 0, 1)[..., None] * RED[::-1], 'colours'),
        (255 - stripes(0, 1)[..., None] * RED, 'none is black'),
    ],
)
def test_a_mask_of_more_than_two_clusters_is_an_error_that_names_file_and_fix(
    pixels: np.ndarray, reason: str, tmp_path: Path, write_image: Any
) -> None:
    path = write_image(tmp_path / 'mask.png', pixels)
    with pytest.raises(ValueError, match=reason) as error:
        load(path)
    assert str(path) in str(error.value)
    assert 'save it so (0 and 255, as PNG)' in str(error.value)


def test_jpeg_masks_that_lost_their_values_are_errors(tmp_path: Path, write_image: Any) -> None:
    path = write_image(tmp_path / 'mask.jpg', np.full(SHAPE, 1, np.uint8))
    with pytest.raises(ValueError, match='0/1 mask spoiled by JPEG'):
        load(path)
    path = write_image(tmp_path / 'mask.jpg', np.linspace(0, 100, 64)[None].repeat(48, 0))
    with pytest.raises(ValueError, match='neither one cluster nor two'):
        load(path)


def test_a_threshold_overrules_the_clusters(tmp_path: Path, write_image: Any) -> None:
    path = write_image(tmp_path / 'mask.png', stripes(0, 100, 200))
    np.testing.assert_array_equal(load(path, threshold=150), stripes(0, 0, 1))
    coloured = stripes(0, 100, 200)[..., None] * np.array([0, 1, 0], np.uint8)
    path = write_image(tmp_path / 'mask.png', coloured)
    np.testing.assert_array_equal(load(path, threshold=50), stripes(0, 1, 1))


def test_a_mask_of_another_size_than_its_image_is_an_error_that_names_both(
    tmp_path: Path, write_image: Any
) -> None:
    path = write_image(tmp_path / 'mask.png', disc())
    sample = {'seg_map_path': str(path), 'img_path': 'a.jpg', 'ori_shape': (64, 48)}
    with pytest.raises(ValueError, match=r'a\.jpg has 48 x 64 .*mask\.png has 64 x 48'):
        LoadMask()(sample)


@given(
    low=st.integers(0, 40), high=st.integers(215, 255), low_width=st.integers(0, 15),
    high_width=st.integers(1, 15),
)  # fmt: skip
def test_the_threshold_lies_between_the_clusters(
    low: int, high: int, low_width: int, high_width: int
) -> None:
    levels = np.r_[low : low + low_width + 1, high - high_width : high + 1]
    for lossy in (False, True):
        threshold = cluster_threshold(levels, lossy=lossy)
        assert threshold == (low + low_width + high - high_width) / 2


def test_threshold_agrees_with_otsu_on_noisy_masks() -> None:
    generator = np.random.default_rng(3)
    noise = np.abs(generator.normal(0, 4, SHAPE)).clip(0, 16)
    pixels = np.where(disc() > 0, 255 - noise, noise).astype(np.uint8)
    _, otsu = cv2.threshold(pixels, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    found = pixels > cluster_threshold(np.unique(pixels), lossy=True)
    np.testing.assert_array_equal(found, otsu)
