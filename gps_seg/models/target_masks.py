"""The true masks of a batch."""

import torch
from mmseg.structures import SegDataSample
from torch import Tensor


def stacked_masks(inputs: Tensor, data_samples: list[SegDataSample] | None) -> Tensor:
    """The masks (gt_sem_seg) of the data samples, (B, 1, H, W), on the device of the inputs.

    inputs: (B, C, H, W). Raises ValueError where there are no masks, or of another size.
    """
    if data_samples is None:
        raise ValueError('data samples with masks (gt_sem_seg) are needed here')
    masks = [sample.gt_sem_seg.data for sample in data_samples]
    wrong = [tuple(mask.shape) for mask in masks if mask.shape[-2:] != inputs.shape[2:]]
    if wrong:
        raise ValueError(
            f'masks must have the size of the images, {tuple(inputs.shape[2:])}, got '
            f'{wrong[0]}; resize both in the training pipeline'
        )
    return torch.stack(masks).to(inputs.device)
