"""From what a model says to probabilities and masks of class ids."""

from typing import Any

import torch
from mmseg.models.segmentors.base import BaseSegmentor
from torch import Tensor


def probabilities_of(model: Any, seg_logits: Tensor) -> Tensor:
    """Probabilities of all classes, (C, H, W) float32, of a data sample's `seg_logits`.

    seg_logits: (C, H, W), or (1, H, W) of the foreground alone, which becomes two classes. A single
    channel of MMSegmentation's segmentors is a probability by then; that of others is a logit.
    """
    values = seg_logits.float()
    if len(values) > 1:
        return values.softmax(dim=0)
    foreground = values if isinstance(model, BaseSegmentor) else values.sigmoid()
    return torch.cat([1 - foreground, foreground])


def foreground_threshold(model: Any) -> float:
    """The probability above which a model with a single channel calls a pixel foreground."""
    if isinstance(model, BaseSegmentor):
        return float(getattr(model.decode_head, 'threshold', 0.5) or 0.5)
    return 0.5


def decide(probabilities: Tensor, threshold: float | None) -> Tensor:
    """The class of every pixel, (H, W) int64.

    probabilities: (C, H, W). threshold: of the foreground, for two classes; None: the largest.
    """
    if threshold is None:
        return probabilities.argmax(dim=0)
    return (probabilities[1] > threshold).long()
