"""Masks of any number of classes: ids, colours, one class of many, pixels that do not count."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from gps_seg.datasets import LoadMask, MaskFolderDataset
from gps_seg.datasets.label_maps import make_labels, make_palette
from tests.foreign import plain_folder, scene

IDS = np.repeat(np.array([0, 1, 2, 1, 0, 2], np.uint8), 8)[:, None].repeat(24, axis=1)
COLOURS = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 142]], np.uint8)
NAMES = ('background', 'road', 'car')


def load(path: Path, **said: Any) -> np.ndarray:
    return LoadMask()({'seg_map_path': str(path), 'labels': make_labels(**said)})['gt_seg_map']


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize('suffix', ['.png', '.gif', '.bmp', '.tif'])
def test_ids_are_the_classes(suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path / f'a{suffix}', IDS)
    np.testing.assert_array_equal(load(path, classes=NAMES), IDS)


def test_sixteen_bit_ids_go_by_their_numbers(tmp_path: Path) -> None:
    stored = np.array([0, 700, 40000], np.uint16)[IDS]
    tifffile.imwrite(tmp_path / 'a.tif', stored)
    cv2.imwrite(str(tmp_path / 'a.png'), stored)
    for suffix in ('.tif', '.png'):
        said = load(tmp_path / f'a{suffix}', classes=dict(background=0, road=700, car=40000))
        np.testing.assert_array_equal(said, IDS)


def test_several_ids_make_one_class_and_ignored_ones_do_not_count(tmp_path: Path) -> None:
    stored = IDS.copy()
    stored[:2, :3] = 9
    stored[2:4, :3] = 255
    path = save(tmp_path / 'a.png', stored)
    expected = np.where(stored == 9, 2, np.where(stored == 255, 255, stored))
    said = load(path, classes=dict(background=0, road=1, car=[2, 9, 77]), ignore=255)
    np.testing.assert_array_equal(said, expected)


@pytest.mark.parametrize('colours_by', ['classes', 'palette'])
def test_colours_are_the_classes(colours_by: str, tmp_path: Path) -> None:
    path = save(tmp_path / 'a.png', COLOURS[IDS])
    colours = [tuple(colour.tolist()) for colour in COLOURS]
    said: dict[str, Any] = dict(classes=dict(zip(NAMES, colours, strict=True)))
    if colours_by == 'palette':
        said = dict(classes=NAMES, palette=colours)
    np.testing.assert_array_equal(load(path, **said), IDS)


@pytest.mark.parametrize('bits', [2, 4, 8])
def test_a_palette_gives_its_indices_or_its_colours(bits: int, tmp_path: Path) -> None:
    image = Image.fromarray(IDS)
    image.putpalette(COLOURS.ravel().tolist())
    image.save(tmp_path / 'a.png', bits=bits)
    np.testing.assert_array_equal(load(tmp_path / 'a.png', classes=NAMES), IDS)
    by_colour = dict(background=(0, 0, 0), road=(128, 64, 128), car=(0, 0, 142))
    np.testing.assert_array_equal(load(tmp_path / 'a.png', classes=by_colour), IDS)


def test_grey_ids_below_eight_bits_are_not_spread(tmp_path: Path) -> None:
    flag = cv2.IMWRITE_PNG_BILEVEL
    cv2.imwrite(str(tmp_path / 'a.png'), IDS % 2, [flag, 1])
    assert (tmp_path / 'a.png').read_bytes()[24] == 1  # one bit
    np.testing.assert_array_equal(load(tmp_path / 'a.png', classes=NAMES), IDS % 2)


@pytest.mark.parametrize('picked, index', [('car', 2), (2, 2), ([1], 1), (['road', 'car'], None)])
def test_one_class_is_picked_against_all_others(picked: Any, index: Any, tmp_path: Path) -> None:
    path = save(tmp_path / 'a.png', IDS)
    labels = make_labels(classes=NAMES, foreground=picked)
    assert labels.classes[0] == 'background' and len(labels.classes) == 2
    expected = IDS > 0 if index is None else index == IDS
    np.testing.assert_array_equal(load(path, classes=NAMES, foreground=picked), expected)


def test_ignored_values_beside_two_others(tmp_path: Path) -> None:
    stored = np.where(IDS == 2, 255, IDS).astype(np.uint8)
    path = save(tmp_path / 'a.png', stored)
    np.testing.assert_array_equal(load(path, ignore=255), stored)
    white = save(
        tmp_path / 'b.png', np.array([[0, 0, 0], [255, 0, 0], [255, 255, 255]], np.uint8)[IDS]
    )
    np.testing.assert_array_equal(load(white, ignore=[(255, 255, 255)]), stored)


def test_a_value_of_no_class_is_named_with_its_pixels(tmp_path: Path) -> None:
    path = save(tmp_path / 'a.png', IDS + 1)
    with pytest.raises(ValueError, match=r'a\.png .* 3 \(384 pixels\) are of no class; .*ignore'):
        load(path, classes=NAMES)


@pytest.mark.parametrize('suffix, options', [('.jpg', {}), ('.webp', {})])
def test_label_maps_with_loss_are_refused(suffix: str, options: Any, tmp_path: Path) -> None:
    path = save(tmp_path / f'a{suffix}', np.dstack([IDS] * 3), **options)
    with pytest.raises(ValueError, match=r'compressed with loss: .*export the label maps again'):
        load(path, classes=NAMES)


def test_lossless_webp_is_no_loss(tmp_path: Path) -> None:
    path = save(tmp_path / 'a.webp', np.dstack([IDS] * 3), lossless=True)
    np.testing.assert_array_equal(load(path, classes=NAMES), IDS)


def test_masks_turned_by_their_tag_are_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    path = save(tmp_path / 'a.png', IDS, exif=exif)
    np.testing.assert_array_equal(load(path, classes=NAMES), IDS[::-1, ::-1])


@pytest.mark.parametrize(
    'said, words',
    [
        (dict(classes=('a', 'b', 'c'), foreground='d'), "no class 'd'"),
        (dict(classes=('a',)), 'at least one more'),
        (dict(classes=dict(a=0, b=0)), 'to two classes'),
        (dict(classes=dict(a=0, b=(1, 2, 3))), 'mix ids and colours'),
        (dict(classes=dict(a=0, b=1, c=2), ignore=2), 'is a class and ignored'),
        (dict(ignore='255'), 'neither an id'),
        (dict(threshold='high'), 'threshold is a number'),
        (dict(classes=dict(a=0, b=(1, 2, 300))), 'three numbers from 0 to 255'),
    ],
)
def test_contradicting_words_about_masks_are_errors(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_labels(**said)


def test_a_made_palette_has_distinct_colours() -> None:
    for count in range(2, 80):
        assert len(set(make_palette(count))) == count
    assert make_palette(5)[:3] == make_palette(3)


def test_a_data_set_of_several_classes_makes_a_palette_and_hands_on_the_classes(
    tmp_path: Path,
) -> None:
    root = plain_folder(tmp_path / 'own', 12)
    for path in (root / 'masks').iterdir():
        mask = (np.asarray(Image.open(path)) > 0).astype(np.uint8)
        mask[-5:] = 2
        save(path, mask)
    dataset = MaskFolderDataset(
        data=dict(root=str(root), images='images', masks='masks', classes=NAMES),
        split='test',
        pipeline=[dict(type='LoadImage'), dict(type='LoadMask')],
    )
    assert dataset.metainfo['classes'] == NAMES
    assert dataset.metainfo['palette'] == list(make_palette(3))
    sample = dataset[0]
    _, mask = scene(int(Path(sample['img_path']).stem[4:]))
    mask[-5:] = 2
    np.testing.assert_array_equal(sample['gt_seg_map'], mask)


def test_every_page_of_a_stack_is_an_image_of_its_own(tmp_path: Path) -> None:
    for kind in ('images', 'masks'):
        (tmp_path / kind).mkdir()
    for case in range(3):
        scenes = [scene(10 * case + page) for page in range(2 + case)]
        images, masks = (np.stack(arrays) for arrays in zip(*scenes, strict=True))
        tifffile.imwrite(tmp_path / 'images' / f'{case}.tif', images, photometric='rgb')
        tifffile.imwrite(tmp_path / 'masks' / f'{case}.tif', masks, photometric='minisblack')
    pipeline = [dict(type='LoadImage'), dict(type='LoadMask')]
    data = dict(root=str(tmp_path), images='images', masks='masks', page='all')
    dataset = MaskFolderDataset(data=data, pipeline=pipeline)
    assert len(dataset) == 2 + 3 + 4
    image, mask = scene(12 - 1)
    np.testing.assert_array_equal(dataset[3]['img'][..., ::-1], image)
    np.testing.assert_array_equal(dataset[3]['gt_seg_map'], mask)


def test_a_threshold_leaves_out_what_is_ignored(tmp_path: Path) -> None:
    stored = np.array([[0, 90, 110, 254, 255, 255]], np.uint8).repeat(4, axis=0)
    path = save(tmp_path / 'a.png', stored)
    expected = np.array([[0, 0, 1, 1, 255, 255]]).repeat(4, axis=0)
    np.testing.assert_array_equal(load(path, threshold=100, ignore=255), expected)


@pytest.mark.parametrize(
    'said',
    [
        dict(threshold=127),
        dict(threshold=0.5),
        dict(foreground=255),
        dict(foreground=1),
        dict(classes=dict(background=0, polyp=255)),
        dict(classes=dict(background=0, polyp=1)),
        {},
    ],
    ids=str,
)
def test_a_mask_of_one_bit_has_the_values_that_are_said(
    said: dict[str, Any], tmp_path: Path
) -> None:
    drawn = np.zeros((20, 30), bool)
    drawn[5:12, 4:20] = True
    for suffix in ('.png', '.tif'):
        path = tmp_path / f'a{suffix}'
        Image.fromarray(drawn).save(path)
        np.testing.assert_array_equal(load(path, **said), drawn)


def test_an_image_of_few_classes_keeps_the_indices_of_its_palette(tmp_path: Path) -> None:
    # As of PASCAL VOC: class 7 is grey, and its neighbours are not.
    colours = np.zeros((21, 3), np.uint8)
    for index in range(21):
        for bit in range(8):
            colours[index, bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    assert colours[7].tolist() == [128, 128, 128]
    image = Image.fromarray(np.array([[0, 7, 7, 0]], np.uint8).repeat(3, axis=0), mode='P')
    image.putpalette(colours.ravel().tolist())
    image.save(tmp_path / 'a.png')
    expected = np.array([[0, 1, 1, 0]]).repeat(3, axis=0)
    np.testing.assert_array_equal(load(tmp_path / 'a.png', foreground=7), expected)
    names = tuple(f'class {index}' for index in range(21))
    np.testing.assert_array_equal(load(tmp_path / 'a.png', classes=names), 7 * expected)
