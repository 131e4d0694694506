"""The published recipe's config with SAM ViT-B, on small images: every part but the pixels."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from segment_anything import sam_model_registry

import gps_seg
from gps_seg.delta import Delta
from gps_seg.models.sam_segmentor import SAMSegmentor
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


@pytest.mark.slow
def test_the_small_delta_of_a_sam_b_takes_a_megabyte(tmp_path: Path) -> None:
    config = Config.fromfile(CONFIGS / 'gps_sam_small-delta.py')
    # Without the seconds that an initialisation takes.
    with torch.device('meta'):
        sam = SAMSegmentor(**{k: v for k, v in config.model.items() if k != 'type'})
    sam = sam.to_empty(device='cpu').eval()
    sam.fresh_names = frozenset()  # as if the official file had filled all
    with torch.no_grad():
        for tensor in sam.state_dict().values():
            tensor.uniform_(-0.1, 0.1)
    method = dict(config.default_hooks.fine_tune.method)
    assert method.pop('type') == 'Select'
    # The size does not depend on which entries a criterion chooses, only on how many.
    tuning = gps_seg.tune(sam, method='select', **{**method, 'criterion': 'random'})
    with torch.no_grad():
        for parameter in tuning.parameters():
            parameter.add_(0.01)
    # What a run writes beside the values.
    delta = tuning.delta(config=config.pretty_text, model=json.dumps(config.model.to_dict()))
    biases = [n for n in delta.whole if n.endswith('.bias')]
    assert sorted(biases) == sorted(delta.whole)
    assert any(n.startswith('mask_decoder.') for n in delta.values)
    assert any(n.startswith('image_encoder.neck.') for n in delta.values)
    sizes: dict[str, int] = {}
    for name, dtype in (('fp32', None), ('bf16', torch.bfloat16)):
        delta.save(tmp_path / name, dtype=dtype)
        sizes[name] = (tmp_path / name).stat().st_size
    assert sizes['fp32'] <= 1_200_000, sizes
    assert sizes['bf16'] <= 800_000, sizes
    (tmp_path / 'sizes.json').write_text(json.dumps(sizes))
