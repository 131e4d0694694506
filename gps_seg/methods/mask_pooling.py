"""Averaging feature maps over the classes of label maps."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def mask_pooled(
    features: Tensor,
    masks: Tensor,
    *,
    num_classes: int | None = None,
    ignored: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The mean feature of each class in each image, image by image.

    features: (B, D, h, w). A pixel has the feature of the cell that its centre lies in, so that a
        feature weighs as much as the area that the class covers of its cell, and an object smaller
        than a cell still counts.
    masks: (B, 1, H, W) or (B, H, W) integers, a class each.
    num_classes: labels must lie below it. None: any number.
    ignored: the label of pixels that belong to no class.

    Returns embeddings (N, D), in fp32 at least, and classes (N,) int64, ascending in each image; a
    class without a pixel gives no row. The memory grows with the classes that are present.

    Raises ValueError for labels that are no class.
    """
    images = _labels(masks, num_classes=num_classes, ignored=ignored)
    return _pooled(features, images), torch.cat([image.classes for image in images])


def levels_pooled(
    levels: Sequence[Tensor],
    masks: Tensor,
    *,
    num_classes: int | None = None,
    ignored: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The mean features of several maps: each of length 1, side by side.

    levels: maps (B, D_i, h_i, w_i) of the same images; all else as in `mask_pooled`.
    Returns embeddings (N, sum of D_i) and classes (N,) int64.
    """
    images = _labels(masks, num_classes=num_classes, ignored=ignored)
    parts = [F.normalize(_pooled(features, images), dim=1) for features in levels]
    return torch.cat(parts, dim=1), torch.cat([image.classes for image in images])


class _Labels:
    """The label map of one image: which classes are present, and where.

    classes: (K,) int64, ascending. numbers: (H, W), the place in `classes` of each pixel's label,
    -1 where it belongs to no class.
    """

    def __init__(self, mask: Tensor, ignored: int | None) -> None:
        labels, numbers = torch.unique(mask.long(), return_inverse=True)
        kept = torch.ones_like(labels, dtype=torch.bool) if ignored is None else labels != ignored
        self.classes = labels[kept]
        places = torch.where(kept, kept.cumsum(0) - 1, -1)
        self.numbers = places[numbers]

    def areas(self, height: int, width: int) -> Tensor:
        """How many pixels of each class lie in each cell of a grid: (K, height * width) int64."""
        cells = [
            # The cell of the pixel's centre, in whole numbers.
            (2 * torch.arange(pixels, device=self.numbers.device) + 1) * num // (2 * pixels)
            for pixels, num in zip(self.numbers.shape, (height, width), strict=True)
        ]
        cell = cells[0][:, None] * width + cells[1]
        inside = self.numbers >= 0
        places = self.numbers[inside] * (height * width) + cell[inside]
        counts = torch.bincount(places, minlength=len(self.classes) * height * width)
        return counts.reshape(len(self.classes), height * width)


def _labels(masks: Tensor, *, num_classes: int | None, ignored: int | None) -> list[_Labels]:
    if masks.dim() not in (3, 4) or masks.is_floating_point():
        raise ValueError(
            f'masks must be integers (B, H, W), a class for each pixel, got {masks.dtype} '
            f'{tuple(masks.shape)}; or give embed(images, labels)'
        )
    images = [_Labels(mask, ignored) for mask in masks.reshape(len(masks), *masks.shape[-2:])]
    present = torch.cat([image.classes for image in images])
    if len(present):
        lowest, highest = int(present.min()), int(present.max())
        if lowest < 0 or (num_classes is not None and highest >= num_classes):
            upper = 'upwards' if num_classes is None else f'to {num_classes - 1}'
            rest = '' if ignored is None else f' (or ignore_index {ignored})'
            raise ValueError(
                f'masks must hold 0 {upper}{rest}, got {lowest} to {highest}; map them in the '
                'pipeline (reduce_zero_label?), or set num_classes'
            )
    return images


def _pooled(features: Tensor, images: Sequence[_Labels]) -> Tensor:
    if features.dim() != 4 or len(features) != len(images):
        raise ValueError(
            f'features must be maps (B, D, h, w) of the {len(images)} images, got '
            f'{tuple(features.shape)}; give embed, a function that returns embeddings and classes'
        )
    with torch.autocast(features.device.type, enabled=False):
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        rows = []
        for image, image_features in zip(images, features, strict=True):
            areas = image.areas(*features.shape[2:]).to(features.dtype)
            sums = areas @ image_features.flatten(1).T
            rows.append(sums / areas.sum(1, keepdim=True))
        return torch.cat(rows)
