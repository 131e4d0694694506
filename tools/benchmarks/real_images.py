"""Real images and weights for the benchmarks: Oxford Flowers and ViT-Tiny, from GPS_SEG_DATA."""

import json
from collections.abc import Iterator

import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.data import create_transform
from torch import Tensor, nn

from gps_seg.data_root import data_path

FLOWERS = 'fgvc/OxfordFlower90'
WEIGHTS = {'vit_tiny': 'weights/vit_tiny_patch16_224.augreg.safetensors'}
SIZE = 224
MEAN = STD = (0.5, 0.5, 0.5)
Batch = tuple[Tensor, Tensor]


def has_real_data(model: str) -> bool:
    """Whether the images, and pretrained weights of the model, are at hand."""
    needed = [f'{FLOWERS}/train.json', WEIGHTS.get(model)]
    return all(path is not None and data_path(path).is_file() for path in needed)


def pretrained_vit_tiny() -> nn.Module:
    """ViT-Tiny/16 with its ImageNet weights and without a head."""
    model = timm.create_model('vit_tiny_patch16_224')
    model.load_state_dict(load_file(data_path(WEIGHTS['vit_tiny'])))
    return model


def contrastive_batches(num_images: int, *, size: int, seed: int = 0) -> Iterator[list[Batch]]:
    """Contrastive batches of `size` images in two views each, as one micro-batch.

    Views are timm's: crop 0.08 to 1, flip, colour jitter .4 without hue, grey p .2. The published
    ones (arXiv:2312.10136) differ in the jitter: .4 with hue .1, at p .8.
    Yields [(images (2 * size, 3, 224, 224), labels (2 * size,))].
    """
    root = data_path(FLOWERS)
    labels = json.loads((root / 'train.json').read_text())
    paths = sorted(labels)
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(seed)).tolist()
    view = create_transform(
        SIZE, is_training=True, color_jitter=0.4, grayscale_prob=0.2, mean=MEAN, std=STD
    )
    torch.manual_seed(seed)
    for start in range(0, num_images, size):
        chosen = [paths[i] for i in order[start : min(start + size, num_images)]]
        opened = [Image.open(root / path).convert('RGB') for path in chosen]
        views = torch.stack([view(image) for image in opened for _ in range(2)])
        yield [(views, torch.tensor([labels[path] for path in chosen]).repeat_interleave(2))]
