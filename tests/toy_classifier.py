"""Small complete trainings of a classifier: a tiny ViT of timm at 32 pixels on drawn classes."""

from pathlib import Path
from typing import Any

import timm
import torch
from mmengine.config import Config

import gps_seg.datasets
import gps_seg.evaluation
import gps_seg.hooks
import gps_seg.models  # noqa: F401  registers what the configs name
from gps_seg.cli.configs import load_config
from tests.class_folders import make_layout

BACKBONE = 'test_vit.r160_in1k'
SPLITS = ('train', 'val', 'test')
SIZE = 32
NUM_CLASSES = 3


def write_base(path: Path, *, seed: int = 3, num_classes: int = 11) -> None:
    """Write randomly initialised weights of the backbone, with a head of its own."""
    torch.manual_seed(seed)
    model = timm.create_model(BACKBONE, img_size=SIZE, num_classes=num_classes)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), path)


def toy_classifier(folder: Path, work_dir: str = 'run', **model: Any) -> Config:
    """A complete config over `folder`, which gets data and base weights where it lacks them.

    model: settings of the model that differ.
    """
    if not (folder / 'base.pth').exists():
        write_base(folder / 'base.pth')
        make_layout(folder, 'fgvc/flowers', NUM_CLASSES, 3, 40)
    config = load_config('classification/gps_vit-tiny_flowers.py')
    config.model.update(
        backbone=BACKBONE,
        img_size=SIZE,
        num_classes=NUM_CLASSES,
        weights=str(folder / 'base.pth'),
        **model,
    )
    for split in SPLITS:
        loader = config[f'{split}_dataloader']
        loader.update(batch_size=4, num_workers=0, persistent_workers=False)
        loader.dataset.update(image_size=SIZE, root=str(folder / 'fgvc/OxfordFlower'))
    config.train_cfg.max_epochs = 2
    config.optim_wrapper.type = 'OptimWrapper'
    config.default_hooks.fine_tune.selection_pass.batch_size = 4
    config.default_hooks.fine_tune.method = dict(type='GPS', k=1)
    config.default_hooks.report.num_pictures = 2
    config.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    config.work_dir = str(folder / work_dir)
    config.experiment_name = f'{folder.name}_{work_dir}'
    return config
