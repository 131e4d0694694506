"""The published recipe's config with SAM ViT-B, on small images: every part but the pixels."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from segment_anything import sam_model_registry

from gps_seg.delta import Delta
from tests.toy_runs import CONFIGS, on_discs, run


@pytest.mark.slow
def test_the_kvasir_config_trains_an_official_checkpoint_with_the_published_count(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    checkpoint = tmp_path / 'sam_vit_b.pth'
    torch.save(sam_model_registry['vit_b']().state_dict(), checkpoint)
    config = Config.fromfile(CONFIGS / 'gps_sam_kvasir.py')
    on_discs(config, tmp_path, image_size=96)
    config.model.update(image_size=96, checkpoint=str(checkpoint))
    config.train_dataloader.dataset.indices = 2
    config.train_cfg.max_epochs = 1
    config.default_hooks.fine_tune.selection_pass = dict(num_images=2)
    config.default_hooks.fine_tune.probe = False
    config.work_dir = str(tmp_path / 'run')
    runner = run(config)
    assert runner.iter == 2
    metrics = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert metrics['trainable'] == 4_227_044
    assert metrics['total'] == 93_735_472
    state = torch.load(checkpoint, weights_only=True)
    Delta.load(tmp_path / 'run' / 'delta.safetensors').swap(state)
    stock = sam_model_registry['vit_b']()
    stock.load_state_dict(state)
    tuned = runner.model.state_dict()
    assert all(torch.equal(tensor, tuned[name]) for name, tensor in stock.state_dict().items())
