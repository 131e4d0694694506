"""The rule of the black border, against SciPy's labelling, and in the pipelines of its config."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from scipy import ndimage

from gps_seg.datasets import AddBorderClass, MaskFolderDataset, black_border
from gps_seg.datasets.specs import split_file

CONFIG = Path(__file__).parents[2] / 'configs/_base_/datasets/kvasir_seg_256_three_classes.py'


def by_scipy(image: np.ndarray, darkest: int, min_share: float) -> np.ndarray:
    """The rule as it is written, region by region."""
    regions, num = ndimage.label((image <= darkest).all(axis=2), structure=np.ones((3, 3)))
    border = np.zeros(image.shape[:2], bool)
    for region in range(1, num + 1):
        inside = regions == region
        at_edge = inside[0].any() or inside[-1].any() or inside[:, 0].any() or inside[:, -1].any()
        if at_edge and inside.mean() >= min_share:
            border |= inside
    return border


@pytest.mark.parametrize('min_share', [0.0, 0.001, 0.01])
@pytest.mark.parametrize('seed', range(4))
def test_the_border_is_that_of_scipy_on_random_spots(seed: int, min_share: float) -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(90, 120)), (0, 0), 2)
    grey = np.clip(noise * 200 + 30, 0, 255)
    image = np.dstack([0.6 * grey, grey, 0.9 * grey]).astype(np.uint8)
    found = black_border(image, min_share=min_share)
    expected = by_scipy(image, 24, min_share)
    assert 0.01 < expected.mean() < 0.9
    np.testing.assert_array_equal(found, expected)


def framed() -> np.ndarray:
    """A red disc in a black frame, with a black lumen in it and a small black spot at the edge."""
    image = np.zeros((100, 140, 3), np.uint8)
    cv2.circle(image, (70, 50), 60, (60, 60, 180), -1)
    cv2.circle(image, (70, 50), 12, (10, 10, 10), -1)
    return image


def test_a_dark_lumen_is_no_border_and_a_frame_is() -> None:
    border = black_border(framed())
    assert border[0, 0]
    assert border[-1, -1]
    assert not border[50, 70]
    assert not border[50, 40]


def test_an_image_without_black_and_one_all_black_are_no_errors() -> None:
    assert not black_border(np.full((20, 30, 3), 25, np.uint8)).any()
    assert black_border(np.full((20, 30, 3), 24, np.uint8)).all()


def test_only_background_becomes_border() -> None:
    mask = np.zeros((100, 140), np.uint8)
    mask[:30, :30], mask[90:] = 1, 255
    results = AddBorderClass().transform(dict(img=framed(), gt_seg_map=mask, seg_map_path='a'))
    expected = np.where(black_border(framed()) & (mask == 0), 2, mask)
    np.testing.assert_array_equal(results['gt_seg_map'], expected)
    assert results['gt_seg_map'].dtype == np.uint8
    assert set(np.unique(expected)) == {0, 1, 2, 255}
    with pytest.raises(ValueError, match='a holds class 2 already'):
        AddBorderClass().transform(dict(results, img=framed()))


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A data root whose Kvasir-SEG is one framed image; returns its three classes."""
    mask = np.zeros((100, 140), np.uint8)
    cv2.circle(mask, (50, 40), 15, 255, -1)
    for kind, pixels in (('images', framed()), ('masks', mask)):
        folder = tmp_path / 'Kvasir-SEG' / kind
        folder.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / f'{kind}.png'), pixels)
        for part in ('train', 'test'):
            for stem in split_file('kvasir_seg', part).read_text().split():
                (folder / f'{stem}.jpg').symlink_to(tmp_path / f'{kind}.png')
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path))
    return np.where(mask > 0, 1, np.where(black_border(framed()), 2, 0))


def dataset(part: str) -> Any:
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(Config.fromfile(CONFIG)[f'{part}_dataloader'].dataset)


def test_the_config_scores_at_the_original_size_and_trains_at_its_own(stand_in: np.ndarray) -> None:
    test = dataset('test')
    assert isinstance(test, MaskFolderDataset)
    assert test.metainfo['classes'] == ('background', 'polyp', 'border')
    assert len(test.metainfo['palette']) == 3
    item = test[0]
    np.testing.assert_array_equal(item['data_samples'].gt_sem_seg.data[0], stand_in)
    train = dataset('train')
    for index in range(12):
        item = train[(0, 0, index)]
        labels = item['data_samples'].gt_sem_seg.data[0]
        assert labels.shape == item['inputs'].shape[1:] == (256, 256)
        assert set(labels.unique().tolist()) <= {0, 1, 2}
        # Whatever is dark and at the edge is border, what augmentation filled as well.
        dark = torch.from_numpy(black_border(item['inputs'].permute(1, 2, 0).numpy(), darkest=40))
        assert dark.any()
        assert (labels[dark] == 2).float().mean() > 0.95


@pytest.mark.real_data
def test_nearly_every_real_image_has_a_border_that_spares_the_polyps() -> None:
    """On the real data the share of the three classes is what the documentation says."""
    test = dataset('test')
    labels = [test[n]['data_samples'].gt_sem_seg.data for n in range(0, 120, 4)]
    border = np.array([(label == 2).float().mean().item() for label in labels])
    assert (border > 0.02).all()
    assert 0.1 < border.mean() < 0.25


def test_the_border_is_found_in_the_file_where_no_image_was_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'a.png'), framed())
    truth = dict(
        img_path=str(tmp_path / 'a.png'),
        gt_seg_map=np.zeros((100, 140), np.uint8),
        seg_map_path='a',
    )
    results = AddBorderClass().transform(truth)
    np.testing.assert_array_equal(results['gt_seg_map'], 2 * black_border(framed()))
