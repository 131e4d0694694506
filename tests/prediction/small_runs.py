"""Work dirs as a training leaves them, made in a moment: random weights, moved at random."""

import json
from pathlib import Path

import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from gps_seg.delta import BASE_NAME, Delta
from gps_seg.runner.base_weights import load_base_weights
from tests.toy_runs import on_discs, toy_config, write_base
from tests.toy_segformer import segformer_config


def write_run(config: Config, *, seed: int = 1, moved: str = '') -> Path:
    """Write delta.safetensors and metrics.json of a model that was moved from its base.

    moved: what the names of the moved tensors hold. Returns the work dir.
    """
    model = MODELS.build(config.model)
    loaded = load_base_weights(model, None)
    fresh = getattr(model, 'fresh_names', loaded.fresh(model))
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    tuned = {
        name: tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
        if tensor.is_floating_point() and moved in name
        else tensor
        for name, tensor in base.items()
    }
    metadata = {
        BASE_NAME: Path(config.model.get('checkpoint') or 'none').name,
        'model': json.dumps(config.model.to_dict()),
        'epoch': '2',
        'config': config.pretty_text,
    }
    folder = Path(config.work_dir)
    delta = Delta.between(base, tuned, fresh=fresh, metadata=metadata)
    delta.save(folder / 'delta.safetensors')
    scores = {'mDice': 71.25, 'mIoU': 60.5, 'trainable': 1234.0, 'total': 1e5, 'epochs': 2.0}
    (folder / 'metrics.json').write_text(json.dumps(scores))
    return folder


def sam_run(folder: Path, name: str = 'run', *, seed: int = 1) -> Path:
    """A demo-sized SAM at 64 pixels on the drawn discs below `folder`."""
    return write_run(toy_config(folder, name), seed=seed, moved='mask_decoder')


def segformer_run(folder: Path, name: str = 'segformer', *, num_classes: int = 2) -> Path:
    """A tiny SegFormer at 64 pixels; with one channel where `num_classes` is 1."""
    config = toy_config(folder, name)
    model = segformer_config(checkpoint=str(folder / f'{name}.pth'))
    model['decode_head'].update(num_classes=num_classes, out_channels=num_classes)
    if num_classes == 1:
        model['decode_head'].update(num_classes=2, threshold=0.3)
        model['decode_head']['loss_decode'] = dict(
            type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True
        )
    torch.manual_seed(5)
    built = MODELS.build({**model, 'checkpoint': None})
    torch.save(built.state_dict(), folder / f'{name}.pth')
    config.model = model
    on_discs(config, folder, image_size=64)
    return write_run(config, moved='decode_head')


def other_base(path: Path) -> Path:
    """Another base for `sam_run`."""
    write_base(path, seed=9)
    return path
