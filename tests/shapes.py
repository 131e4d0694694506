"""Drawn scenes of five classes, as images and label maps that MMSegmentation's own classes read."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config

from gps_seg.datasets.procedural.objects import add_object, box, ellipse, paint, place
from gps_seg.datasets.procedural.surfaces import blur, contour_mask, finish, mix

CONFIGS = Path(__file__).parents[1] / 'configs'
CLASSES = ('background', 'disc', 'box', 'triangle', 'cross')
PALETTE = ((0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167))
HUES = (30, 120, 210, 300)  # degrees, one a class; each object's differs by up to 25
NUM_IMAGES = {'train': 400, 'val': 40, 'test': 60}


def triangle(rng: np.random.Generator) -> np.ndarray:
    return np.array([[0.0, -1.0], [0.87, 0.5], [-0.87, 0.5]]) * rng.uniform(0.9, 1.1, (1, 2))


def cross(rng: np.random.Generator) -> np.ndarray:
    """A plus sign, (12, 2)."""
    w = rng.uniform(0.28, 0.4)
    quarter = np.array([[w, -1.0], [w, -w], [1.0, -w]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, n) for n in range(4)])


OUTLINES = (ellipse, box, triangle, cross)


def draw_shapes(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One to four objects on a textured ground; later ones cover earlier ones.

    Returns the image, (size, size, 3) uint8 RGB, and its classes, (size, size) uint8 in [0, 4].
    """
    image = paint(rng, size, rng.uniform(0.2, 0.8, 3).astype(np.float32), rng.uniform(0.1, 0.4))
    labels = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 5)):
        label = int(rng.integers(1, 5))
        outline = OUTLINES[label - 1](rng)
        radius, centre = size * rng.uniform(0.1, 0.2), size * rng.uniform(0.15, 0.85, 2)
        mask = contour_mask(place(rng, outline, radius=radius, centre=centre), size)
        hue = (HUES[label - 1] + rng.uniform(-25, 25)) % 360
        hsv = np.array([[[hue, rng.uniform(0.4, 0.9), rng.uniform(0.5, 0.95)]]], np.float32)
        colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
        image = add_object(rng, image, mask, paint(rng, size, colour, rng.uniform(0.05, 0.25)))
        image = mix(image, colour, 0.2 * blur(mask.astype(np.float32), 0.6))
        labels[mask] = label
    return finish(rng, np.clip(image, 0, 1), softness=0.5, grain=rng.uniform(0, 0.03)), labels


def write_shapes(root: Path, num_images: dict[str, int], *, size: int = 128, seed: int = 0) -> None:
    """Write images/SPLIT/*.png and labels/SPLIT/*.png; every tenth image has an ignored strip."""
    index = 0
    for split, num in num_images.items():
        for folder in ('images', 'labels'):
            (root / folder / split).mkdir(parents=True)
        for number in range(num):
            image, labels = draw_shapes(np.random.default_rng([seed, index]), size)
            if number % 10 == 0:
                labels[:, :4] = 255
            name = f'{split}_{number:03d}.png'
            cv2.imwrite(str(root / 'images' / split / name), image[..., ::-1])
            cv2.imwrite(str(root / 'labels' / split / name), labels)
            index += 1


def on_shapes(config: Config, root: Path, *, batch_size: int) -> None:
    """Point a config's data and evaluators at a folder of `write_shapes`, read by stock classes."""
    load: list[dict[str, Any]] = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    flip = dict(type='RandomFlip', prob=0.5)
    for split in ('train', 'val', 'test'):
        pipeline = [*load, *([flip] if split == 'train' else []), dict(type='PackSegInputs')]
        config[f'{split}_dataloader'] = dict(
            batch_size=batch_size,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
            dataset=dict(
                type='BaseSegDataset',
                data_root=str(root),
                data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'labels/{split}'),
                img_suffix='.png',
                metainfo=dict(classes=CLASSES, palette=[list(colour) for colour in PALETTE]),
                pipeline=pipeline,
                test_mode=split != 'train',
            ),
        )
    config.val_evaluator = config.test_evaluator = dict(type='SegmentationMetric')


def shapes_config(folder: Path, work_dir: str = 'run', **model: Any) -> Config:
    """A ViT-Tiny SAM of five classes at 128 pixels, as it is trained in the tests."""
    config = Config.fromfile(CONFIGS / 'gps_sam-tiny_kvasir-256.py')
    # loss=None: the default for several classes.
    config.model.update({'image_size': 128, 'num_classes': len(CLASSES), 'loss': None, **model})
    on_shapes(config, folder / 'shapes', batch_size=8)
    config.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    config.work_dir = str(folder / work_dir)
    config.experiment_name = f'{folder.name}_{work_dir}'
    return config
