"""The data configs build; on the real data all 1000 pairs are sound."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmseg.registry import DATASETS

from gps_seg.data_root import VARIABLE
from gps_seg.datasets.specs import split_file

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'
PARTS = {'train': 'train', 'val': 'val', 'test': 'test'}


@pytest.fixture(autouse=True)
def _scope() -> Iterator[None]:
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root whose Kvasir-SEG has every listed stem, as links to one small pair."""
    root = tmp_path / 'Kvasir-SEG'
    rows, columns = np.mgrid[:30, :40]
    mask = ((rows - 12) ** 2 + (columns - 20) ** 2 < 60).astype(np.uint8) * 255
    for kind, pixels in (('images', np.dstack([mask // 2 + 50] * 3)), ('masks', mask)):
        (root / kind).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / f'{kind}.jpg'), pixels)
        for part in PARTS:
            for stem in split_file('kvasir_seg', part).read_text().split():
                (root / kind / f'{stem}.jpg').symlink_to(tmp_path / f'{kind}.jpg')
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return root


@pytest.mark.parametrize('name, size', [('kvasir_seg', 1024), ('kvasir_seg_256', 256)])
def test_the_config_gives_inputs_of_its_size_and_masks_for_training_or_testing(
    name: str, size: int, stand_in: Path
) -> None:
    config = Config.fromfile(CONFIGS / f'{name}.py')
    for part, count in (('train', 800), ('val', 80), ('test', 120)):
        loader = Runner.build_dataloader(
            {**config[f'{part}_dataloader'], 'num_workers': 0, 'persistent_workers': False}, seed=5
        )
        assert len(loader.dataset) == count
        batch: dict[str, Any] = next(iter(loader))
        data = batch['data_samples'][0]
        assert batch['inputs'][0].shape == (3, size, size)
        mask_shape = (size, size) if part == 'train' else (30, 40)
        assert data.gt_sem_seg.data.shape == (1, *mask_shape)
        assert data.ori_shape == (30, 40)
        assert data.draw[:2] == (5, 0)
        assert len(data.box_prompt) == 4
    assert config.val_evaluator == config.test_evaluator == dict(type='ForegroundMetric')


def test_a_leaf_changes_the_size_or_the_augmentation_in_a_few_lines(
    tmp_path: Path, stand_in: Path
) -> None:
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(
        f"_base_ = r'{CONFIGS / 'kvasir_seg_256.py'}'\n"
        'train_pipeline = _base_.train_pipeline\n'
        "train_pipeline[3]['transforms'] = [dict(type='Transpose', p=1.0)]\n"
        'train_dataloader = dict(dataset=dict(image_size=64, pipeline=train_pipeline))\n'
    )
    config = Config.fromfile(leaf)
    sample = DATASETS.build(config.train_dataloader.dataset)[0]
    assert sample['inputs'].shape == (3, 64, 64)
    # The disc lies left of the middle and above it; transposed, its box is too.
    x0, y0, x1, y1 = sample['data_samples'].box_prompt
    assert (y0 + y1) / 2 > (x0 + x1) / 2


@pytest.mark.real_data
def test_all_real_pairs_have_two_clear_clusters_and_equal_sizes() -> None:
    pipeline = [dict(type='LoadImage'), dict(type='LoadMask')]
    total, shapes = 0, set()
    for part in PARTS:
        dataset = DATASETS.build(
            dict(type='MaskFolderDataset', spec='kvasir_seg', split=part, pipeline=pipeline)
        )
        for index in range(len(dataset)):
            sample = dataset[index]
            mask = cv2.imread(sample['seg_map_path'], cv2.IMREAD_GRAYSCALE)
            assert not ((mask > 16) & (mask < 239)).any(), sample['seg_map_path']
            np.testing.assert_array_equal(sample['gt_seg_map'], mask >= 128)
            assert sample['img'].shape == (*mask.shape, 3)
            assert 0.001 < sample['gt_seg_map'].mean() < 0.9
            shapes.add(mask.shape)
            total += 1
    assert total == 1000
    assert len(shapes) > 300
