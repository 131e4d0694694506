"""The drawn images of the demo."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from gps_seg.datasets.mask_folder import MaskFolderDataset
from gps_seg.datasets.procedural import draw_objects, draw_polyp, folder, write_drawings
from gps_seg.datasets.procedural.surfaces import blur, contour_mask, fractal_noise, normals

FEW = {'train': 3, 'val': 2, 'test': 2}
GENERATORS = [draw_objects, draw_polyp]


def differences_at_border(image: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Mean colour step across the mask's border, and across the same border moved elsewhere."""

    def step(border: np.ndarray) -> float:
        kernel = np.ones((7, 7), np.uint8)
        inside = border & ~cv2.erode(border.astype(np.uint8), kernel).astype(bool)
        outside = cv2.dilate(border.astype(np.uint8), kernel).astype(bool) & ~border
        means = [image[ring].astype(float).mean(axis=0) for ring in (inside, outside)]
        return float(np.abs(means[0] - means[1]).mean())

    moved = np.roll(mask, (mask.shape[0] // 2, mask.shape[1] // 2), axis=(0, 1))
    return step(mask), step(moved)


@pytest.mark.parametrize('draw', GENERATORS)
def test_the_same_generator_state_draws_the_same_image(draw: Callable) -> None:
    first, again, other = (draw(np.random.default_rng(seed), 96) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).mean() > 0.5


@pytest.mark.parametrize('draw', GENERATORS)
@pytest.mark.parametrize('size', [64, 256])
def test_image_and_mask_have_the_promised_form(draw: Callable, size: int) -> None:
    image, mask = draw(np.random.default_rng(0), size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert mask.shape == (size, size)
    assert mask.dtype == bool


@pytest.mark.parametrize('draw', GENERATORS)
def test_masks_are_neither_empty_nor_most_of_the_image(draw: Callable) -> None:
    areas = [draw(np.random.default_rng([3, index]), 128)[1].mean() for index in range(150)]
    assert min(areas) > 0.004
    assert max(areas) < 0.6
    assert 0.04 < np.median(areas) < 0.2  # small and large ones alike
    assert np.percentile(areas, 90) > 3 * np.percentile(areas, 10)


@pytest.mark.parametrize('draw', GENERATORS)
def test_the_mask_lies_where_the_object_is_drawn(draw: Callable) -> None:
    steps = np.array(
        [
            differences_at_border(*draw(np.random.default_rng([4, index]), 128))
            for index in range(60)
        ]
    )
    assert (steps[:, 0] > steps[:, 1]).mean() > 0.6
    assert steps[:, 0].mean() > 1.4 * steps[:, 1].mean()


def test_polyps_have_nearly_the_colour_of_the_mucosa_and_objects_that_of_no_ground() -> None:
    def distance(draw: Callable, index: int) -> float:
        image, mask = draw(np.random.default_rng([5, index]), 128)
        ring = cv2.dilate(mask.astype(np.uint8), np.ones((31, 31))).astype(bool) & ~mask
        return float(np.abs(image[mask].mean(axis=0) - image[ring].mean(axis=0)).mean())

    polyps = [distance(draw_polyp, index) for index in range(40)]
    objects = [distance(draw_objects, index) for index in range(40)]
    assert np.median(polyps) < 25
    assert np.median(objects) > 1.5 * np.median(polyps)


def test_polyps_are_drawn_redder_than_green_and_blue() -> None:
    images = np.stack([draw_polyp(np.random.default_rng([6, index]), 64)[0] for index in range(20)])
    red, green, blue = images.reshape(-1, 3).mean(axis=0)
    assert red > 1.3 * green
    assert red > 1.3 * blue


def test_noise_spans_the_unit_range_and_is_as_fine_as_asked() -> None:
    coarse, fine = (
        fractal_noise(np.random.default_rng(0), 128, cells=cells, octaves=1) for cells in (2, 32)
    )
    for noise in (coarse, fine):
        assert noise.min() == pytest.approx(0, abs=1e-6)
        assert noise.max() == pytest.approx(1, abs=1e-6)
    assert np.abs(np.diff(fine)).mean() > 5 * np.abs(np.diff(coarse)).mean()


def test_a_filled_outline_has_the_area_of_its_polygon() -> None:
    corners = np.array([[10.0, 10], [60, 10], [60, 40], [10, 40]])
    assert contour_mask(corners, 80).sum() == pytest.approx(50 * 30, rel=0.06)


def test_a_slope_tilts_the_normals_by_its_gradient() -> None:
    height = np.arange(32, dtype=np.float32)[None].repeat(32, axis=0) * 0.5
    expected = np.array([-0.5, 0, 1]) / np.sqrt(1.25)
    np.testing.assert_allclose(normals(height)[16, 16], expected, atol=1e-6)


def test_wide_blur_agrees_with_the_exact_one() -> None:
    values = fractal_noise(np.random.default_rng(1), 128, cells=4)
    exact = cv2.GaussianBlur(values, (0, 0), 12, borderType=cv2.BORDER_REFLECT)
    assert np.abs(blur(values, 12) - exact).max() < 0.02


def test_written_polyps_are_read_by_the_ordinary_data_set(tmp_path: Path) -> None:
    assert write_drawings(tmp_path / 'polyps', FEW, seed=3)
    pipeline = [dict(type='LoadImage'), dict(type='LoadMask')]
    sizes = {}
    index = 0
    for split in FEW:
        dataset = MaskFolderDataset(
            root=str(tmp_path / 'polyps'),
            images='images/*.jpg',
            masks='masks/*.png',
            ann_file=f'{split}.txt',
            pipeline=pipeline,
        )
        sizes[split] = len(dataset)
        for sample in dataset:
            image, mask = draw_polyp(np.random.default_rng([3, index]), 256)
            np.testing.assert_array_equal(sample['gt_seg_map'], mask)
            # JPEG keeps the picture and thins the colour noise.
            assert np.abs(sample['img'][..., ::-1].astype(int) - image).mean() < 5
            index += 1
    assert sizes == FEW


def test_written_polyps_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        write_drawings(tmp_path / name, FEW, seed)
    files = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob('*.*')}
        for root in (tmp_path / name for name in 'abc')
    ]
    assert files[0] == files[1]
    assert files[0].keys() == files[2].keys()
    assert files[0] != files[2]


def test_a_complete_folder_is_recognised_and_left_alone(tmp_path: Path) -> None:
    root = tmp_path / 'polyps'
    assert write_drawings(root, FEW)
    before = {path: path.stat().st_mtime_ns for path in root.rglob('*')}
    assert not write_drawings(root, FEW)
    assert {path: path.stat().st_mtime_ns for path in root.rglob('*')} == before


def test_an_interrupted_writing_leaves_no_folder_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def stop_at_the_fifth(target: Path, stem: str, image: np.ndarray, mask: np.ndarray) -> None:
        written.append(stem)
        assert not (tmp_path / 'polyps').exists()  # not even half of it, for a kill
        if len(written) == 5:
            raise KeyboardInterrupt
        write_pair(target, stem, image, mask)

    write_pair = folder.write_pair
    monkeypatch.setattr(folder, 'write_pair', stop_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        write_drawings(tmp_path / 'polyps', FEW)
    assert list(tmp_path.iterdir()) == []
    assert write_drawings(tmp_path / 'polyps', FEW)


@pytest.mark.parametrize('change', ['image', 'mask', 'list', 'seed', 'version'])
def test_a_folder_that_is_not_this_data_set_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    root, seed = tmp_path / 'polyps', 0
    write_drawings(root, FEW)
    if change == 'image':
        (root / 'images' / 'polyp_0001.jpg').unlink()
    elif change == 'mask':
        (root / 'masks' / 'polyp_0006.png').unlink()
    elif change == 'list':
        (root / 'val.txt').write_text('polyp_0003\n')
    elif change == 'seed':
        seed = 1
    else:
        monkeypatch.setattr(folder, 'DRAWING', 99)
    files = sorted(root.rglob('*'))
    with pytest.raises(ValueError, match=r'move or remove it, and it is drawn again'):
        write_drawings(root, FEW, seed)
    assert sorted(root.rglob('*')) == files


def test_a_folder_of_before_subjects_were_named_holds_polyps(tmp_path: Path) -> None:
    root = tmp_path / 'polyps'
    write_drawings(root, FEW)
    about = json.loads((root / 'about.json').read_text())
    del about['subject']
    (root / 'about.json').write_text(json.dumps(about))
    assert not write_drawings(root, FEW)
    with pytest.raises(ValueError, match='is not this drawn data set'):
        write_drawings(root, FEW, subject='objects')


def test_objects_are_written_as_they_are_drawn(tmp_path: Path) -> None:
    assert write_drawings(tmp_path, FEW, seed=3, subject='objects')
    assert (tmp_path / 'val.txt').read_text() == 'object_0003\nobject_0004\n'
    _, mask = draw_objects(np.random.default_rng([3, 4]), 256)
    written = cv2.imread(str(tmp_path / 'masks' / 'object_0004.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, 255 * mask.astype(np.uint8))
    with pytest.raises(ValueError, match='subject must be one of polyps, objects'):
        write_drawings(tmp_path, FEW, subject='object')


def test_an_empty_folder_is_filled_and_foreign_files_are_kept(tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    assert write_drawings(tmp_path / 'empty', FEW)
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'thesis.txt').write_text('mine')
    with pytest.raises(ValueError, match='other'):
        write_drawings(tmp_path / 'other', FEW)
    assert (tmp_path / 'other' / 'thesis.txt').read_text() == 'mine'
