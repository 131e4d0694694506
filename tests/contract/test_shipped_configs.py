"""Every shipped config is complete and builds."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmseg.registry import HOOKS, MODELS

import gps_seg.datasets
import gps_seg.evaluation
import gps_seg.hooks
import gps_seg.models  # noqa: F401  registers what the configs name
from gps_seg.hooks.fine_tune_hook import FineTuneHook
from gps_seg.methods import method_key
from gps_seg.runner.contrastive_batches import SelectionPass

CONFIGS = sorted(Path(__file__).parents[2].glob('configs/*.py'))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_builds(path: Path) -> None:
    config = Config.fromfile(path)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'optim_wrapper'):
        assert name in config
    hook = HOOKS.build(config.default_hooks.fine_tune)
    assert isinstance(hook, FineTuneHook)
    name = path.stem.split('_')[0].split('-')[0]
    key = method_key(config.default_hooks.fine_tune.method.type)
    # An ablation goes by its granularity.
    assert name == (hook.method.granularity if key == 'select' else key)  # type: ignore[attr-defined]
    assert isinstance(hook.selection_pass, SelectionPass)
    model = MODELS.build({**config.model, 'checkpoint': None, 'encoder_weights': None})
    sizes = {config[f'{split}_dataloader'].dataset.image_size for split in ('train', 'val', 'test')}
    # Models of MMSegmentation take images of any size.
    assert sizes == {getattr(model, 'image_size', max(sizes))}


def test_train_validation_and_test_are_three_splits() -> None:
    config = Config.fromfile(next(path for path in CONFIGS if path.stem == 'gps_sam_kvasir'))
    splits = [config[f'{s}_dataloader'].dataset.split for s in ('train', 'val', 'test')]
    assert splits == ['train', 'val', 'test']
