"""Every shipped config is complete and builds."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import HOOKS, MODELS

import gps_seg.datasets
import gps_seg.evaluation
import gps_seg.hooks
import gps_seg.models  # noqa: F401  registers what the configs name
from gps_seg.cli.configs import load_config
from gps_seg.hooks.fine_tune_hook import FineTuneHook
from gps_seg.methods import method_key
from gps_seg.runner.contrastive_batches import SelectionPass

CONFIGS = sorted(Path(__file__).parents[2].glob('configs/*.py'))
# What MMSegmentation says of its own defaults, where its shipped files leave them.
STOCK_WARNINGS = pytest.mark.filterwarnings('ignore:.*(avg_non_ignore|pretrained).*:UserWarning')


def built(config: Config) -> Any:
    """The model, without reading weights."""
    kind = str(config.model.backbone.type) if 'backbone' in config.model else ''
    package = kind.rpartition('.')[0]
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f'{kind} needs {package}: pip install onedl-{package}')
    init_default_scope(config.default_scope)
    ours = {n: None for n in ('checkpoint', 'encoder_weights') if n in config.model}
    return MODELS.build({**config.model, **ours})


@STOCK_WARNINGS
@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_builds(path: Path) -> None:
    config = load_config(path)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'optim_wrapper'):
        assert name in config
    hook = HOOKS.build(config.default_hooks.fine_tune)
    assert isinstance(hook, FineTuneHook)
    name = path.stem.split('_')[0].split('-')[0]
    key = method_key(config.default_hooks.fine_tune.method.type)
    # An ablation goes by its granularity; a small delta is GPS by another gradient.
    method: Any = hook.method
    ablation = key == 'select' and method.granularity != 'neuron'
    assert name == (method.granularity if ablation else 'gps' if key == 'select' else key)
    assert isinstance(hook.selection_pass, SelectionPass)
    sizes = {config[f'{split}_dataloader'].dataset.image_size for split in ('train', 'val', 'test')}
    # Models of MMSegmentation take images of any size.
    assert sizes == {getattr(built(config), 'image_size', max(sizes))}


def test_train_validation_and_test_are_three_splits() -> None:
    config = load_config(next(path for path in CONFIGS if path.stem == 'gps_sam_kvasir'))
    splits = [config[f'{s}_dataloader'].dataset.split for s in ('train', 'val', 'test')]
    assert splits == ['train', 'val', 'test']
