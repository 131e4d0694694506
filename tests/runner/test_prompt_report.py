"""Reports on prompts of a small SAM, and runs with mixed prompts."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS

import gps_seg
from gps_seg.evaluation.prompted import KINDS
from gps_seg.runner import prompt_report as module
from gps_seg.runner.checkpoints import read_checkpoint
from gps_seg.runner.prompt_report import (
    PromptReport,
    prompt_report,
    report_on_prompts,
    scenes_of,
    stock_model,
)
from tests.toy_runs import CONFIGS, run, toy_config

PADDED = dict(type='SAMDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True)


class StopAfter(Hook):
    """A crash at the end of an epoch's training, before its checkpoint."""

    priority = 'VERY_LOW'

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def after_train_epoch(self, runner: Runner) -> None:
        if runner.epoch + 1 == self.epoch:
            raise KeyboardInterrupt


def mixed_config(folder: Path, work_dir: str = 'run') -> Config:
    """The toy run with mixed prompts, on the pipelines of the shipped config."""
    config = toy_config(folder, work_dir)
    shipped = Config.fromfile(CONFIGS / 'gps_sam_promptable.py')
    config.model.prompt = 'mixed'
    config.model.data_preprocessor = dict(PADDED)
    for split in ('train', 'val', 'test'):
        loader = f'{split}_dataloader'
        config[loader].dataset.pipeline = shipped[loader].dataset.pipeline
    config.default_hooks.report.prompts = dict(
        kinds=['none', 'box', 'point'], automatic_images=1, points_per_side=2
    )
    return config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    init_default_scope('mmseg')
    return mixed_config(tmp_path)


@pytest.mark.slow
def test_a_run_with_mixed_prompts_resumes_exactly_and_reports_every_prompt(
    tmp_path: Path, config: Config
) -> None:
    run(config)
    metrics = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    for kind in ('none', 'box', 'point'):
        for name in ('mDice', 'mIoU', 'quality_error'):
            assert 0 <= metrics[f'{kind}/{name}'] <= 100
            assert 0 <= metrics[f'zero_shot/{kind}/{name}'] <= 100
    assert {'automatic/masks', 'automatic/recall'} < metrics.keys()
    # Stock SamPredictor without a prompt and the model itself give the same masks.
    np.testing.assert_allclose(metrics['none/mDice'], metrics['mDice'], atol=0.5)
    # New images have no objects, and need none.
    image = tmp_path / 'discs' / 'images' / 'test0.png'
    mask = gps_seg.load(tmp_path / 'run', device='cpu')(image).mask
    assert mask.shape == cv2.imread(str(image)).shape[:2]
    stopped = mixed_config(tmp_path, 'stopped')
    stopped.custom_hooks = [dict(type=StopAfter, epoch=2)]
    with pytest.raises(KeyboardInterrupt):
        run(stopped)
    again = mixed_config(tmp_path, 'stopped')
    again.resume, again.experiment_name = True, 'again'
    run(again)
    first, second = (
        read_checkpoint(tmp_path / name / 'last.pth')['state_dict'] for name in ('run', 'stopped')
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_scenes_are_at_their_own_size_with_their_objects(config: Config) -> None:
    dataset = DATASETS.build(config.test_dataloader.dataset)
    scenes = list(scenes_of(dataset))
    assert len(scenes) == 3
    assert len(list(scenes_of(dataset, 2))) == 2
    for number, scene in enumerate(scenes):
        mask = dataset.get_data_info(number)['seg_map_path']
        truth = cv2.imread(mask, cv2.IMREAD_GRAYSCALE) > 0
        np.testing.assert_array_equal(scene.foreground, truth)
        assert len(scene.truths()) == 1
        image = cv2.imread(dataset.get_data_info(number)['img_path'])
        np.testing.assert_array_equal(scene.image, image[..., ::-1])
    steps = config.test_dataloader.dataset.pipeline
    config.test_dataloader.dataset.pipeline = [s for s in steps if s['type'] != 'LoadObjects']
    with pytest.raises(ValueError, match='needs LoadObjects in the pipeline'):
        list(scenes_of(DATASETS.build(config.test_dataloader.dataset)))


def test_a_report_leaves_model_and_random_states_as_they_are(config: Config) -> None:
    model = MODELS.build(config.model)
    model.init_weights()
    dataset = DATASETS.build(config.test_dataloader.dataset)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    np.random.seed(5)
    training = model.training
    settings = PromptReport(num_images=1, points_per_side=2, automatic_images=1)
    scores = report_on_prompts(model, dataset, settings)
    assert {f'{kind}/mDice' for kind in KINDS} < scores.keys()
    assert model.training == training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    drawn = torch.rand(1).item(), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    assert drawn == (torch.rand(1).item(), np.random.rand())


def test_what_has_no_stock_model_is_refused(config: Config) -> None:
    other: Any = MODELS.build({**config.model, 'prompt': 'none', 'num_classes': 3})
    with pytest.raises(ValueError, match='SAMSegmentor of two classes'):
        stock_model(other)
    model: Any = MODELS.build(config.model)
    model.image_encoder.added = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match='modules that segment_anything does not know'):
        stock_model(model)


def test_a_report_that_cannot_be_made_stops_before_the_training(config: Config) -> None:
    config.default_hooks.fine_tune.method = dict(type='LoRA', rank=2)
    config.default_hooks.report.zero_shot = False
    with pytest.raises(ValueError, match='modules that segment_anything does not know'):
        run(config)
    assert not list(Path(config.work_dir).glob('*.pth'))


def test_the_bound_on_images_bounds_automatic_masks_too(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def count(generator: Any, scenes: Any) -> dict[str, float]:
        seen.append(len(list(scenes)))
        return {}

    monkeypatch.setattr(module, 'automatic_scores', count)
    dataset = DATASETS.build(config.test_dataloader.dataset)
    for num_images, automatic, expected in ((1, 2, 1), (2, 1, 1), (None, 2, 2), (None, None, 3)):
        settings = PromptReport(['none'], num_images, automatic, points_per_side=1)
        report_on_prompts(MODELS.build(config.model), dataset, settings)
        assert seen.pop() == expected


def test_the_thresholds_are_those_of_the_automatic_generator(config: Config) -> None:
    model = MODELS.build(config.model)
    model.init_weights()
    dataset = DATASETS.build(config.test_dataloader.dataset)
    settings = [
        PromptReport(['none'], 1, None, 4, pred_iou_thresh=iou, stability_score_thresh=stability)
        for iou, stability in ((0, 0), (1, 0), (0, 1))
    ]
    counts = [report_on_prompts(model, dataset, s)['automatic/masks'] for s in settings]
    assert counts[0] > 0
    assert counts[1:] == [0, 0]


def test_wrong_settings_are_named() -> None:
    assert prompt_report(None) is None
    with pytest.raises(ValueError, match="no prompt 'all'"):
        prompt_report(dict(kinds=['all']))
    with pytest.raises(ValueError, match='does not take this'):
        prompt_report(dict(points=3))
    with pytest.raises(ValueError, match='at least 1, got 0'):
        prompt_report(dict(points_per_side=0))
    with pytest.raises(ValueError, match=r'stability_score_thresh must lie in \[0, 1\], got 95'):
        prompt_report(dict(stability_score_thresh=95))
