"""Small complete trainings: a demo-sized SAM at 64 pixels on drawn discs."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

import gps_seg.datasets
import gps_seg.evaluation
import gps_seg.hooks
import gps_seg.models  # noqa: F401  registers what the configs name
from gps_seg.cli.quiet_runner import QuietRunner

CONFIGS = Path(__file__).parents[1] / 'configs'
NUM_IMAGES = {'train': 6, 'val': 3, 'test': 3}


def draw_discs(root: Path, *, seed: int = 0) -> None:
    """Write images/*.png, masks/*.png (0 and 255, of other sizes than the input) and lists."""
    rng = np.random.default_rng(seed)
    for folder in ('images', 'masks'):
        (root / folder).mkdir(parents=True)
    for split, num in NUM_IMAGES.items():
        stems = [f'{split}{index}' for index in range(num)]
        (root / f'{split}.txt').write_text('\n'.join(stems) + '\n')
        for stem in stems:
            height, width = rng.integers(70, 110, 2)
            image = rng.integers(0, 120, (height, width, 3), dtype=np.uint8)
            mask = np.zeros((height, width), np.uint8)
            centre = (int(rng.integers(25, width - 25)), int(rng.integers(25, height - 25)))
            cv2.circle(mask, centre, int(rng.integers(10, 22)), 255, -1)
            image[mask > 0] += 110
            cv2.imwrite(str(root / 'images' / f'{stem}.png'), image)
            cv2.imwrite(str(root / 'masks' / f'{stem}.png'), mask)


def write_base(path: Path, *, seed: int = 3) -> None:
    """Write a randomly initialised SAM of the demo architecture as a checkpoint."""
    torch.manual_seed(seed)
    model = MODELS.build({**toy_model(), 'checkpoint': None})
    torch.save(model.state_dict(), path)


def toy_model() -> dict[str, Any]:
    """The model's config, without its checkpoint."""
    model = Config.fromfile(CONFIGS / '_base_/models/sam_demo.py').model.to_dict()
    return {**model, 'image_size': 64}


def toy_config(folder: Path, work_dir: str = 'run', **method: Any) -> Config:
    """A complete config over `folder`, which gets data and base weights where it lacks them."""
    if not (folder / 'base.pth').exists():
        write_base(folder / 'base.pth')
    config = Config.fromfile(CONFIGS / 'gps_sam-tiny_kvasir-256.py')
    config.model = {**toy_model(), 'checkpoint': str(folder / 'base.pth')}
    on_discs(config, folder, image_size=64)
    for split in NUM_IMAGES:
        config[f'{split}_dataloader'].batch_size = 2
    config.train_cfg.max_epochs = 2
    config.default_hooks.fine_tune.selection_pass = dict(batch_size=3)
    config.default_hooks.fine_tune.method = {'type': 'GPS', 'k': 2, **method}
    config.default_hooks.report.num_pictures = 2
    config.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    config.work_dir = str(folder / work_dir)
    config.experiment_name = f'{folder.name}_{work_dir}'
    return config


def run(config: Config) -> QuietRunner:
    """Train by a config. Returns the runner as training left it."""
    runner = QuietRunner.from_cfg(config)
    runner.train()
    return runner


def on_discs(config: Config, folder: Path, image_size: int) -> None:
    """Point a config's three data loaders at the drawn discs, in small batches without workers."""
    data = folder / 'discs'
    if not data.exists():
        draw_discs(data)
    for split in NUM_IMAGES:
        loader = config[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(
            spec=None, split=None, root=str(data), images='images/*', masks='masks/*'
        )
        loader.dataset.update(
            classes=('background', 'disc'), ann_file=f'{split}.txt', image_size=image_size
        )
