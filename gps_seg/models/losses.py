"""Losses of logits against masks of classes, pixels to ignore left out; always in fp32.

Every loss takes logits (B, C, H, W) and masks (B, 1, H, W). One channel is the foreground of two
classes (sigmoid); C channels are C classes, the background among them (softmax).
"""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from gps_seg.models.labels import IGNORE_INDEX, split_ignored


def soft_iou(
    logits: Tensor, targets: Tensor, *, smooth: float = 1.0, counted: Tensor | None = None
) -> Tensor:
    """The IoU of foreground probabilities with a binary mask, per image.

    logits, targets: (B, 1, H, W); targets in {0, 1}. smooth: pixels added to intersection and
    union, which defines the value of an empty mask: 1 where nothing is predicted either. counted:
    (B, 1, H, W) bool, the pixels that count; None for all. Returns (B,), in (0, 1].
    """
    probabilities, targets = logits.sigmoid().flatten(1), targets.flatten(1)
    if counted is not None:
        probabilities, targets = probabilities * counted.flatten(1), targets * counted.flatten(1)
    intersection = (probabilities * targets).sum(1)
    union = probabilities.sum(1) + targets.sum(1) - intersection
    return (intersection + smooth) / (union + smooth)


@MODELS.register_module()
class BCESoftIoULoss(nn.Module):
    """Binary cross-entropy plus 1 - soft IoU, the loss of the published SAM recipe.

    ignore_index: the label of pixels that are left out of both. Returns `loss_bce`, the mean over
    all pixels, and `loss_iou`, the mean over images.
    """

    def __init__(
        self,
        *,
        bce_weight: float = 1.0,
        iou_weight: float = 1.0,
        smooth: float = 1.0,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        if smooth <= 0:
            raise ValueError(f'smooth must be above 0, got {smooth}: an empty mask would be 0 / 0')
        self.bce_weight = bce_weight
        self.iou_weight = iou_weight
        self.smooth = smooth
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """logits, targets: (B, 1, H, W); targets in {0, 1} or ignored, of any dtype."""
        if logits.shape[1] != 1:
            raise ValueError(
                f'BCESoftIoULoss is for the one channel of two classes, got {logits.shape[1]} '
                "channels; set the model's loss to dict(type='MonaiDiceCELoss')"
            )
        logits = precise(logits)
        labels, counted = split_ignored(logits, targets, self.ignore_index)
        targets = labels.to(logits.dtype)
        if counted is None:
            bce = F.binary_cross_entropy_with_logits(logits, targets)
        else:
            summed = F.binary_cross_entropy_with_logits(
                logits[counted], targets[counted], reduction='sum'
            )
            bce = summed / counted.sum().clamp(min=1)
        iou = soft_iou(logits, targets, smooth=self.smooth, counted=counted).mean()
        return {'loss_bce': self.bce_weight * bce, 'loss_iou': self.iou_weight * (1 - iou)}

    def each(self, logits: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
        """The loss of every single mask, (B, M): its pixels' mean cross-entropy and its soft IoU.

        logits: (B, M, H, W). targets: (B, 1, H, W) bool. counted: (B, 1, H, W) bool, the pixels
        that count.
        """
        # Sums over pixels are products with the pixels' weights, much faster than masked means.
        # Autocast would take products lower, where fp16 has no number for the sum of an image.
        with torch.autocast(logits.device.type, enabled=False):
            masks = precise(logits).flatten(2)  # B M HW
            weights = counted.flatten(2).to(masks.dtype)  # B 1 HW
            truth = targets.flatten(2).to(masks.dtype) * weights
            num_counted, area = weights.sum(2), truth.sum(2)  # B 1
            weights, truth = weights.transpose(1, 2), truth.transpose(1, 2)  # B HW 1
            entropies = F.softplus(masks) @ weights - masks @ truth
            bce = entropies[..., 0] / num_counted.clamp(min=1)
            probabilities = masks.sigmoid()
            intersection = (probabilities @ truth)[..., 0]
            union = (probabilities @ weights)[..., 0] + area - intersection
            iou = (intersection + self.smooth) / (union + self.smooth)
            return self.bce_weight * bce + self.iou_weight * (1 - iou)


def precise(tensor: Tensor) -> Tensor:
    """Halves as fp32, fp32 and fp64 as they are."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
