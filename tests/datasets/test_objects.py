"""Objects of COCO files, instance maps and components, and the prompts drawn about them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gps_seg.datasets import Augment, LoadImage, LoadMask, LoadObjects, ObjectPrompts, PackObjects
from gps_seg.datasets.label_maps import make_labels
from gps_seg.datasets.object_prompts import MAX_SHIFT
from gps_seg.datasets.objects import components, numbered, read_coco_objects

HEIGHT, WIDTH = 40, 60
# Three rectangles of two classes, two of them of one: (class, top, left, bottom, right).
OBJECTS = [(1, 4, 4, 14, 20), (1, 20, 6, 36, 18), (2, 8, 30, 30, 55)]


def rectangles() -> tuple[np.ndarray, np.ndarray]:
    """Classes and objects of the three rectangles."""
    classes, objects = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint16)
    for number, (label, top, left, bottom, right) in enumerate(OBJECTS, start=1):
        classes[top:bottom, left:right] = label
        objects[top:bottom, left:right] = number
    return classes, objects


def coco_folder(root: Path, more: list[dict[str, Any]] | None = None) -> Path:
    """A COCO file of the rectangles, by their corners."""
    annotations: list[dict[str, Any]] = []
    for number, (label, top, left, bottom, right) in enumerate(OBJECTS):
        corners = [left, top, right, top, right, bottom, left, bottom]
        item = dict(id=number, image_id=7, category_id=label, segmentation=[corners])
        annotations.append(item)
    content = dict(
        images=[dict(id=7, file_name='a.png', height=HEIGHT, width=WIDTH)],
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
        annotations=[*annotations, *(more or [])],
    )
    file = root / 'annotations.json'
    file.write_text(json.dumps(content))
    return file


def loaded(root: Path, mask: str, labels: Any, **options: Any) -> dict[str, Any]:
    results: dict[str, Any] = dict(
        img_path=str(root / 'a.png'), seg_map_path=mask, labels=labels, ori_shape=(HEIGHT, WIDTH)
    )
    return LoadObjects(**options).transform(LoadMask().transform(results))


def test_coco_an_instance_map_and_components_give_the_same_objects(tmp_path: Path) -> None:
    pytest.importorskip('pycocotools.mask')
    classes, objects = rectangles()
    labels = make_labels(classes=('background', 'cat', 'dog'))
    cv2.imwrite(str(tmp_path / 'a.png'), classes)
    ids = np.array([0, 300, 2, 65000], np.uint16)  # in an order of their own, more than 8 bits
    (tmp_path / 'instances').mkdir()
    cv2.imwrite(str(tmp_path / 'instances' / 'a.png'), ids[objects])
    by_parts = loaded(tmp_path, str(tmp_path / 'a.png'), labels)
    by_map = loaded(tmp_path, str(tmp_path / 'a.png'), labels, instances='instances/{stem}.png')
    by_coco = loaded(tmp_path, f'{coco_folder(tmp_path)}#7', labels)
    np.testing.assert_array_equal(by_parts['gt_object_map'], objects)
    np.testing.assert_array_equal(by_coco['gt_object_map'], objects)
    # Numbered by their ids: 2, 300, 65000.
    np.testing.assert_array_equal(by_map['gt_object_map'], np.array([0, 2, 1, 3])[objects])
    assert by_parts['seg_fields'] == ['gt_seg_map', 'gt_object_map']


def test_components_are_those_of_scipy() -> None:
    ndimage = pytest.importorskip('scipy.ndimage')
    labels = np.random.default_rng(0).choice([0, 1, 2, 255], (50, 70), p=[0.5, 0.2, 0.2, 0.1])
    found = components(labels.astype(np.uint8))
    expected, so_far = np.zeros(labels.shape, int), 0
    for label in (1, 2):
        parts, count = ndimage.label(labels == label, structure=np.ones((3, 3)))
        expected[parts > 0], so_far = parts[parts > 0] + so_far, so_far + count
    assert found.max() == so_far
    # The same partition: each number of one goes with one number of the other.
    assert len(np.unique(np.stack([found.ravel(), expected.ravel()]), axis=1)[0]) == so_far + 1


def test_of_overlapping_annotations_the_smaller_one_wins_and_crowds_are_ignored(
    tmp_path: Path,
) -> None:
    pytest.importorskip('pycocotools.mask')
    inside = [34, 10, 40, 10, 40, 16, 34, 16]
    group = np.zeros((HEIGHT, WIDTH), int)
    group[30:40, 40:] = 1
    flat = group.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = dict(size=[HEIGHT, WIDTH], counts=np.diff([0, *edges, len(flat)]).tolist())
    file = coco_folder(
        tmp_path,
        [
            dict(id=8, image_id=7, category_id=1, segmentation=[inside]),
            dict(id=9, image_id=7, category_id=1, iscrowd=1, segmentation=runs),
        ],
    )
    labels = make_labels(classes=('background', 'cat', 'dog'))
    objects, crowds = read_coco_objects(f'{file}#7', labels)
    expected = rectangles()[1]
    expected[10:16, 34:40] = 4
    np.testing.assert_array_equal(objects, expected)
    np.testing.assert_array_equal(crowds, group.astype(bool))
    results = loaded(tmp_path, f'{file}#7', labels)
    assert (results['gt_seg_map'][group > 0] == 255).all()
    assert results['gt_object_map'].max() == 4


def test_ignored_pixels_belong_to_no_object(tmp_path: Path) -> None:
    classes, objects = rectangles()
    classes[:10] = 9
    cv2.imwrite(str(tmp_path / 'a.png'), classes)
    labels = make_labels(classes=('background', 'cat', 'dog'), ignore=9)
    results = loaded(tmp_path, str(tmp_path / 'a.png'), labels)
    assert (results['gt_object_map'][:10] == 0).all()
    np.testing.assert_array_equal(results['gt_object_map'][10:] > 0, objects[10:] > 0)


def test_wrong_instance_maps_are_named(tmp_path: Path) -> None:
    classes, objects = rectangles()
    cv2.imwrite(str(tmp_path / 'a.png'), classes)
    labels = make_labels(classes=('background', 'cat', 'dog'))
    mask = str(tmp_path / 'a.png')
    with pytest.raises(ValueError, match=r"write '\{stem\}'"):
        LoadObjects('instances/a.png')
    with pytest.raises(FileNotFoundError, match=r'none/a\.png'):
        loaded(tmp_path, mask, labels, instances='none/{stem}.png')
    cv2.imwrite(str(tmp_path / 'a_ids.jpg'), objects.astype(np.uint8))
    with pytest.raises(ValueError, match='compressed with loss'):
        loaded(tmp_path, mask, labels, instances='{stem}_ids.jpg')
    cv2.imwrite(str(tmp_path / 'a_ids.png'), objects[:-3])
    with pytest.raises(ValueError, match='60 x 37'):
        loaded(tmp_path, mask, labels, instances='{stem}_ids.png')
    with pytest.raises(ValueError, match='add LoadMask'):
        LoadObjects().transform({})


def test_numbers_follow_the_values() -> None:
    values = np.array([[5, 0, 7], [7, 700, 5]])
    np.testing.assert_array_equal(numbered(values), [[1, 0, 2], [2, 3, 1]])
    np.testing.assert_array_equal(numbered(np.full((2, 2), 4)), np.ones((2, 2)))
    assert numbered(np.zeros((2, 2))).max() == 0


def sample(draw: tuple[int, int, int] = (0, 1, 2), **options: Any) -> dict[str, Any]:
    classes, objects = rectangles()
    classes[8:12, 4:20] = 255
    results: dict[str, Any] = dict(
        img=np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        gt_seg_map=classes,
        gt_object_map=objects,
        draw=draw,
    )
    return ObjectPrompts(**options).transform(results)


def test_first_prompts_lie_on_their_objects() -> None:
    classes, objects = rectangles()
    counted = np.ones_like(classes, bool)
    counted[8:12, 4:20] = False
    shifts, points_of_first, by_box = [], set(), []
    for epoch in range(200):
        results = sample((0, epoch, 3))
        np.testing.assert_array_equal(
            results['gt_objects'], [(objects == n) & counted for n in (1, 2, 3)]
        )
        prompts = results['first_prompts']
        by_box.append(prompts['by_box'])
        for number, (x, y) in enumerate(prompts['points'], start=1):
            assert objects[int(y), int(x)] == number and counted[int(y), int(x)]
        points_of_first.add(tuple(prompts['points'][0]))
        _, top, left, bottom, right = OBJECTS[1]
        shifts.append(prompts['boxes'][1] - [left, top, right - 1, bottom - 1])
    # Every pixel is as likely: of 96, 200 draws miss about an eighth.
    assert 70 < len(points_of_first) <= 96
    assert np.abs(shifts).max() <= MAX_SHIFT * WIDTH + 1e-9
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.3
    assert (np.std(shifts, axis=0) > 0.5).all()
    assert 0.4 < np.mean(by_box) < 0.6


def test_draws_depend_on_the_sample_alone() -> None:
    first, again, other = sample((0, 1, 2)), sample((0, 1, 2)), sample((0, 2, 2))
    for name in ('boxes', 'points', 'by_box'):
        np.testing.assert_array_equal(first['first_prompts'][name], again['first_prompts'][name])
    assert first['prompt_draw'] == again['prompt_draw'] != other['prompt_draw']
    assert not np.array_equal(first['first_prompts']['boxes'], other['first_prompts']['boxes'])


def test_of_many_objects_some_are_drawn_and_small_ones_are_left_out() -> None:
    chosen = {
        tuple(int(mask.sum()) for mask in sample((0, epoch, 0), max_objects=2)['gt_objects'])
        for epoch in range(40)
    }
    assert len(chosen) == 3  # all pairs of three
    assert len(sample(min_area=97)['gt_objects']) == 2  # the first has 96 pixels that count
    nothing = sample(min_area=10000)
    assert nothing['gt_objects'].shape == (0, HEIGHT, WIDTH)
    nothing.update(img_shape=(HEIGHT, WIDTH))
    packed = PackObjects(meta_keys=('img_shape',)).transform(nothing)['data_samples']
    assert packed.gt_objects.data.shape == (0, HEIGHT, WIDTH)
    assert packed.first_prompts.boxes.shape == (0, 4)


def test_the_object_map_goes_the_way_of_the_mask() -> None:
    classes, objects = rectangles()
    results: dict[str, Any] = dict(
        img=np.dstack([classes * 100] * 3),
        gt_seg_map=classes,
        gt_object_map=objects,
        draw=(0, 0, 1),
    )
    steps = [dict(type='RandomRotate90', p=1.0), dict(type='Affine', rotate=(20, 30), p=1.0)]
    turned = Augment(steps).transform(results)
    moved = turned['gt_object_map']
    assert moved.dtype == np.uint16
    np.testing.assert_array_equal(np.array([0, 1, 1, 2])[moved], turned['gt_seg_map'])
    assert not np.array_equal(moved, objects)
    filling = Augment([dict(type='Affine', rotate=(20, 30), fill_mask=2, p=1.0)])
    with pytest.raises(ValueError, match='Affine fills masks with 2'):
        filling.transform({**results, 'gt_object_map': objects, 'gt_seg_map': classes})


def test_missing_steps_and_wrong_settings_are_named(make_folder: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match='add LoadObjects after LoadMask'):
        ObjectPrompts().transform(dict(gt_seg_map=np.zeros((4, 4)), draw=(0, 0, 0)))
    with pytest.raises(ValueError, match='add it before'):
        PackObjects().transform({})
    for wrong in (dict(max_objects=0), dict(min_area=0), dict(box_share=2), dict(jitter=0.5)):
        with pytest.raises(ValueError, match=r'at least 1|in \['):
            ObjectPrompts(**wrong)
    root = make_folder(1)
    read = LoadImage().transform(dict(img_path=str(root / 'images' / 'case0.png')))
    assert 'gt_object_map' not in read
