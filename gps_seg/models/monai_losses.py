"""MONAI's losses for any number of classes, pixels to ignore left out: the one seam to them.

MONAI takes ignored pixels in some of these losses and in some versions. Here they are taken out
before: a pixel of probability 0 and target 0 adds nothing to any overlap, and losses that are means
over pixels are given the others alone. The result is that of MONAI on an image without them.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from gps_seg.models.labels import IGNORE_INDEX, split_ignored
from gps_seg.models.losses import precise

# What follows from the number of channels, or would give no single number.
TAKEN = ('sigmoid', 'softmax', 'other_act', 'to_onehot_y', 'reduction', 'soft_label')


class _MonaiLoss(nn.Module):
    """A loss of MONAI under one name.

    ignore_index: the label of pixels that are left out. options: those of the MONAI class
    (`include_background`, `batch`, `lambda_ce`, ...), with its defaults; `weight` may be a list.

    Raises ValueError for options that the class does not have, or that are taken care of here.
    """

    monai_name: ClassVar[str]
    loss_name: ClassVar[str]

    def __init__(self, *, ignore_index: int = IGNORE_INDEX, **options: Any) -> None:
        super().__init__()
        # MONAI takes seconds to import: only those who use it should wait.
        from monai import losses

        taken = [name for name in options if name in TAKEN]
        if taken:
            raise ValueError(
                f'{type(self).__name__} sets {taken[0]} by the number of channels; leave it out'
            )
        self.ignore_index = ignore_index
        if isinstance(options.get('weight'), list | tuple):
            options['weight'] = torch.tensor(options['weight'], dtype=torch.float32)
        try:
            loss = getattr(losses, self.monai_name)(**options)
        except TypeError as error:
            raise ValueError(f"MONAI's {self.monai_name} does not take this: {error}") from error
        # In a tuple, out of sight of the module: class weights are settings, no tensors of a model.
        self._held = (loss,)

    def forward(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """logits: (B, C, H, W). targets: (B, 1, H, W), classes or ignored, of any dtype."""
        logits = precise(logits)
        labels, counted = split_ignored(logits, targets, self.ignore_index)
        num_channels = logits.shape[1]
        if num_channels == 1:
            one_hot, probabilities = labels.to(logits.dtype), logits.sigmoid()
        else:
            one_hot = F.one_hot(labels[:, 0].long(), num_channels).movedim(-1, 1).to(logits.dtype)
            probabilities = logits.softmax(1)
        if counted is not None:
            probabilities, one_hot = probabilities * counted, one_hot * counted
            # The pixels that count, as an image of one line: B C H W -> 1 C N
            logits, targets = (_line(tensor, counted) for tensor in (logits, one_hot))
        else:
            targets = one_hot
        loss = self._held[0].to(logits)
        total = self.overlap(loss, probabilities, one_hot)
        if logits.shape[-1]:  # a mean over no pixel would be nan
            total = total + self.pixelwise(loss, logits, targets)
        return {self.loss_name: total}

    def overlap(self, loss: Any, probabilities: Tensor, targets: Tensor) -> Tensor:
        """The part that sums over areas; both (B, C, H, W), 0 where ignored."""
        return loss(probabilities, targets)

    def pixelwise(self, loss: Any, logits: Tensor, targets: Tensor) -> Tensor:
        """The part that is a mean over pixels; both (B or 1, C, ...), without ignored ones."""
        return logits.new_zeros(())


class _MonaiDicePlus(_MonaiLoss):
    """A loss of MONAI that adds a mean over pixels to the Dice loss."""

    def overlap(self, loss: Any, probabilities: Tensor, targets: Tensor) -> Tensor:
        return loss.lambda_dice * loss.dice(probabilities, targets)


@MODELS.register_module()
class MonaiDiceLoss(_MonaiLoss):
    """`monai.losses.DiceLoss`, as `loss_dice`."""

    monai_name = 'DiceLoss'
    loss_name = 'loss_dice'


@MODELS.register_module()
class MonaiDiceCELoss(_MonaiDicePlus):
    """`monai.losses.DiceCELoss`, as `loss_dice_ce`: Dice and cross-entropy, the usual sum."""

    monai_name = 'DiceCELoss'
    loss_name = 'loss_dice_ce'

    def pixelwise(self, loss: Any, logits: Tensor, targets: Tensor) -> Tensor:
        if logits.shape[1] == 1:
            return loss.lambda_ce * loss.binary_cross_entropy(logits, targets)
        return loss.lambda_ce * loss.cross_entropy(logits, targets.argmax(1))


@MODELS.register_module()
class MonaiDiceFocalLoss(_MonaiDicePlus):
    """`monai.losses.DiceFocalLoss`, as `loss_dice_focal`; its focal part is a sigmoid's."""

    monai_name = 'DiceFocalLoss'
    loss_name = 'loss_dice_focal'

    def pixelwise(self, loss: Any, logits: Tensor, targets: Tensor) -> Tensor:
        return loss.lambda_focal * loss.focal(logits, targets)


@MODELS.register_module()
class MonaiGeneralizedDiceLoss(_MonaiLoss):
    """`monai.losses.GeneralizedDiceLoss` (Sudre et al., arXiv:1707.03237), as `loss_dice`."""

    monai_name = 'GeneralizedDiceLoss'
    loss_name = 'loss_dice'


@MODELS.register_module()
class MonaiTverskyLoss(_MonaiLoss):
    """`monai.losses.TverskyLoss` (Salehi et al., arXiv:1706.05721), as `loss_tversky`."""

    monai_name = 'TverskyLoss'
    loss_name = 'loss_tversky'


def _line(tensor: Tensor, counted: Tensor) -> Tensor:
    return tensor.movedim(1, -1)[counted[:, 0]].T[None]
