"""Images of any depth become (H, W, 3) uint8; unreadable ones are named."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from gps_seg.datasets import LoadImage, LoadMask


def load(path: Path) -> np.ndarray:
    results = LoadImage()({'img_path': str(path)})
    assert results['img_shape'] == results['ori_shape'] == results['img'].shape[:2]
    assert results['img'].dtype == np.uint8
    return results['img']


def picture(*shape: int, high: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, shape)


def test_colours_come_blue_first(tmp_path: Path) -> None:
    rgb = picture(20, 30, 3).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / 'a.png')
    np.testing.assert_array_equal(load(tmp_path / 'a.png'), rgb[..., ::-1])


def test_alpha_is_dropped_and_a_palette_gives_its_colours(tmp_path: Path) -> None:
    rgba = picture(20, 30, 4).astype(np.uint8)
    Image.fromarray(rgba).save(tmp_path / 'a.png')
    np.testing.assert_array_equal(load(tmp_path / 'a.png'), rgba[..., 2::-1])
    indices = Image.fromarray(picture(20, 30, high=2).astype(np.uint8))
    indices.putpalette([10, 20, 30, 40, 50, 60])
    indices.save(tmp_path / 'b.png')
    np.testing.assert_array_equal(
        load(tmp_path / 'b.png'), np.asarray(indices.convert('RGB'))[..., ::-1]
    )


def test_a_grey_image_gets_three_equal_channels(tmp_path: Path, write_image: Any) -> None:
    grey = picture(20, 30).astype(np.uint8)
    image = load(write_image(tmp_path / 'a.png', grey))
    np.testing.assert_array_equal(image, np.dstack([grey] * 3))


@pytest.mark.parametrize('channels', [(), (3,)])
@pytest.mark.parametrize('bits', [10, 12, 16])
def test_deeper_images_are_scaled_by_their_own_range(
    bits: int, channels: tuple[int, ...], tmp_path: Path, write_image: Any
) -> None:
    deep = picture(20, 30, *channels, high=2**bits).astype(np.uint16)
    image = load(write_image(tmp_path / 'a.png', deep))
    share = (deep.astype(np.float64) - deep.min()) / (int(deep.max()) - int(deep.min()))
    expected = share if channels else np.dstack([share] * 3)
    assert np.abs(image - expected * 255).max() <= 0.5
    assert (image.min(), image.max()) == (0, 255)


def test_a_deep_image_of_one_value_is_black(tmp_path: Path, write_image: Any) -> None:
    path = write_image(tmp_path / 'a.png', np.full((4, 5), 700, np.uint16))
    np.testing.assert_array_equal(load(path), np.zeros((4, 5, 3)))


def test_an_image_of_infinite_values_is_an_error_that_names_it(
    tmp_path: Path, write_image: Any
) -> None:
    path = write_image(tmp_path / 'a.tif', np.full((4, 5, 3), np.inf, np.float32))
    with pytest.raises(ValueError, match=r'a\.tif: it holds values that are not finite'):
        load(path)


def test_an_image_is_turned_as_its_exif_tag_says(tmp_path: Path) -> None:
    rgb = picture(20, 30, 3).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    Image.fromarray(rgb).save(tmp_path / 'a.jpg', quality=100, subsampling=0, exif=exif)
    turned = np.rot90(rgb, -1)[..., ::-1]
    assert load(tmp_path / 'a.jpg').shape == turned.shape
    assert np.abs(load(tmp_path / 'a.jpg').astype(int) - turned).mean() < 3


@pytest.mark.parametrize('kind', ['image', 'mask'])
@pytest.mark.parametrize('damage', ['missing', 'empty', 'cut', 'text'])
@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_an_unreadable_file_is_an_error_that_names_it(
    suffix: str, damage: str, kind: str, tmp_path: Path, write_image: Any
) -> None:
    path = write_image(tmp_path / f'a{suffix}', picture(64, 64).astype(np.uint8))
    content = path.read_bytes()
    damaged = {'empty': b'', 'cut': content[: len(content) * 2 // 3], 'text': b'not an image'}
    path.unlink() if damage == 'missing' else path.write_bytes(damaged[damage])
    load_it, key = (LoadImage(), 'img_path') if kind == 'image' else (LoadMask(), 'seg_map_path')
    messages = {
        'missing': 'no file',
        'empty': 'cut off',
        'cut': 'cut off',
        'text': 'cannot be read',
    }
    with pytest.raises((ValueError, FileNotFoundError), match=messages[damage]) as error:
        load_it({key: str(path)})
    assert str(path) in str(error.value)


def test_reading_leaves_opencv_threads_alone(tmp_path: Path, write_image: Any) -> None:
    before = cv2.getNumThreads()
    load(write_image(tmp_path / 'a.png', picture(20, 30, 3).astype(np.uint8)))
    assert cv2.getNumThreads() == before
