"""Masks out of COCO files, against NumPy and OpenCV."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gps_seg.datasets import LoadMask, MaskFolderDataset
from gps_seg.datasets.coco import coco_classes, decode_shape
from gps_seg.datasets.label_maps import make_labels
from tests.foreign import SIDE, coco_file, plain_folder

masks = pytest.importorskip('pycocotools.mask')
HEIGHT, WIDTH = 30, 40


def disc() -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (rows - 12) ** 2 + (columns - 20) ** 2 < 60


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of runs, column by column, zeros first."""
    flat = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *edges, len(flat)]).tolist()
    return [0, *lengths] if flat[0] else lengths


def test_run_lengths_are_decoded() -> None:
    plain = dict(counts=run_lengths(disc()), size=[HEIGHT, WIDTH])
    np.testing.assert_array_equal(decode_shape(plain, HEIGHT, WIDTH, 'a'), disc())
    short = masks.encode(np.asfortranarray(disc().astype(np.uint8)))
    short['counts'] = short['counts'].decode()
    np.testing.assert_array_equal(decode_shape(short, HEIGHT, WIDTH, 'a'), disc())


def test_polygons_are_filled_as_opencv_fills_them_but_for_their_edge() -> None:
    corners = np.array([[5, 5], [30, 8], [22, 25]])
    expected = cv2.fillPoly(np.zeros((HEIGHT, WIDTH), np.uint8), [corners], 1)
    around = np.ones((3, 3), np.uint8)
    filled = decode_shape([corners.ravel().tolist()], HEIGHT, WIDTH, 'a')
    assert (filled >= cv2.erode(expected, around)).all()
    assert (filled <= cv2.dilate(expected, around)).all()


@pytest.mark.parametrize(
    'segmentation, words',
    [
        ([[1, 2, 3, 4]], 'three corners'),
        ([], 'three corners'),
        (dict(counts=[1], size=[3, 3]), 'its size is'),
        (None, 'cannot be read'),
        (dict(size=[HEIGHT, WIDTH]), 'cannot be read'),
    ],
)
def test_a_broken_segmentation_is_an_error(segmentation: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode_shape(segmentation, HEIGHT, WIDTH, 'a.json')


def test_small_objects_lie_over_large_ones_whatever_their_order(tmp_path: Path) -> None:
    square = [[0, 0, 30, 0, 30, 30, 0, 30]]
    small = [[10, 10, 20, 10, 20, 20, 10, 20]]
    content = dict(
        images=[dict(id=1, file_name='a.png', height=HEIGHT, width=WIDTH)],
        categories=[dict(id=7, name='large'), dict(id=3, name='small')],
        annotations=[
            dict(id=1, image_id=1, category_id=3, segmentation=small),
            dict(id=2, image_id=1, category_id=7, segmentation=square),
        ],
    )
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(content))
    assert coco_classes(path) == ('background', 'small', 'large')
    labels = make_labels(classes=coco_classes(path))
    mask = LoadMask()({'seg_map_path': f'{path}#1', 'labels': labels})['gt_seg_map']
    assert (mask[15, 15], mask[5, 5], mask[5, 35]) == (1, 2, 0)
    picked = make_labels(classes=coco_classes(path), foreground='large')
    mask = LoadMask()({'seg_map_path': f'{path}#1', 'labels': picked})['gt_seg_map']
    assert (mask[15, 15], mask[5, 5]) == (0, 1)


def test_a_data_set_reads_its_masks_from_a_coco_file(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / 'own', 3)
    coco_file(root, {2: 'polyp'})
    dataset = MaskFolderDataset(
        data=dict(root=str(root), images='images', masks='annotations.json'),
        pipeline=[dict(type='LoadImage'), dict(type='LoadMask')],
    )
    expected = np.zeros(SIDE, np.uint8)
    expected[20:50, 10:40] = 1
    np.testing.assert_array_equal(dataset[1]['gt_seg_map'], expected)
