"""Losses of foreground logits against a binary mask; always computed in fp32."""

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


def soft_iou(logits: Tensor, targets: Tensor, *, smooth: float = 1.0) -> Tensor:
    """The IoU of foreground probabilities with a binary mask, per image.

    logits, targets: (B, 1, H, W); targets in {0, 1}. smooth: pixels added to intersection and
    union, which defines the value of an empty mask: 1 where nothing is predicted either.
    Returns (B,), in (0, 1].
    """
    probabilities, targets = logits.sigmoid().flatten(1), targets.flatten(1)
    intersection = (probabilities * targets).sum(1)
    union = probabilities.sum(1) + targets.sum(1) - intersection
    return (intersection + smooth) / (union + smooth)


@MODELS.register_module()
class BCESoftIoULoss(nn.Module):
    """Binary cross-entropy plus 1 - soft IoU, the loss of the published SAM recipe.

    Returns `loss_bce`, the mean over all pixels, and `loss_iou`, the mean over images.
    """

    def __init__(
        self, *, bce_weight: float = 1.0, iou_weight: float = 1.0, smooth: float = 1.0
    ) -> None:
        super().__init__()
        if smooth <= 0:
            raise ValueError(f'smooth must be above 0, got {smooth}: an empty mask would be 0 / 0')
        self.bce_weight = bce_weight
        self.iou_weight = iou_weight
        self.smooth = smooth

    def forward(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """logits, targets: (B, 1, H, W); targets in {0, 1}, of any dtype."""
        logits = _precise(logits)
        targets = targets.to(logits.dtype)
        bce = F.binary_cross_entropy_with_logits(logits, targets)
        iou = soft_iou(logits, targets, smooth=self.smooth).mean()
        return {'loss_bce': self.bce_weight * bce, 'loss_iou': self.iou_weight * (1 - iou)}


class _MonaiLoss(nn.Module):
    """A loss of MONAI on the sigmoid of the logits, under one name.

    options: those of the MONAI class (`lambda_focal`, `gamma`, `squared_pred`, ...).
    """

    monai_name: str
    loss_name: str

    def __init__(self, **options: Any) -> None:
        super().__init__()
        # MONAI takes seconds to import: only those who use it should wait.
        from monai import losses

        self.loss = getattr(losses, self.monai_name)(**{'sigmoid': True, **options})

    def forward(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """logits, targets: (B, 1, H, W); targets in {0, 1}, of any dtype."""
        logits = _precise(logits)
        return {self.loss_name: self.loss(logits, targets.to(logits.dtype))}


@MODELS.register_module()
class MonaiDiceLoss(_MonaiLoss):
    """`monai.losses.DiceLoss`, as `loss_dice`."""

    monai_name = 'DiceLoss'
    loss_name = 'loss_dice'


@MODELS.register_module()
class MonaiDiceFocalLoss(_MonaiLoss):
    """`monai.losses.DiceFocalLoss`, as `loss_dice_focal`."""

    monai_name = 'DiceFocalLoss'
    loss_name = 'loss_dice_focal'


def _precise(tensor: Tensor) -> Tensor:
    """Halves as fp32, fp32 and fp64 as they are; autocast takes no operation of a loss lower."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
