"""Averaging a feature map over the masks of an image."""

import torch
import torch.nn.functional as F
from torch import Tensor


def mask_pooled(features: Tensor, masks: Tensor, *, num_classes: int) -> tuple[Tensor, Tensor]:
    """The mean feature of each class in each image, image by image.

    features: (B, D, h, w). masks: (B, 1, H, W) int64 in [0, num_classes), H and W multiples of h
    and w. A feature weighs as much as the area that the class covers of its cell, so that an object
    smaller than a cell still counts. Returns embeddings (N, D) in fp32 and classes (N,) int64; a
    class without a pixel gives no row.
    """
    with torch.autocast(features.device.type, enabled=False):
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        one_hot = F.one_hot(masks[:, 0], num_classes).permute(0, 3, 1, 2).to(features.dtype)
        height, width = features.shape[2:]
        areas = F.adaptive_avg_pool2d(one_hot, (height, width))
        totals = areas.sum((2, 3))
        sums = torch.einsum('bdhw,bkhw->bkd', features, areas)
        present = totals > 0
        classes = torch.arange(num_classes, device=features.device).expand_as(present)
        return sums[present] / totals[present][:, None], classes[present]
