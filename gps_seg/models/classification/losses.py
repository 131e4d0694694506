"""Losses of classifiers, on logits and shares of classes."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor, float], Tensor]


def cross_entropy(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of shares of classes, smoothed towards 1 / C, the mean over the batch.

    logits, targets: (B, C); each row of the targets adds up to 1.
    """
    return F.cross_entropy(logits, targets, label_smoothing=smoothing)


def binary_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """A sigmoid for each class, as in ResNet strikes back (arXiv:2110.00476), the mean over all.

    logits, targets: (B, C); the targets are smoothed towards 1 / C.
    """
    smoothed = targets * (1 - smoothing) + smoothing / targets.shape[1]
    return F.binary_cross_entropy_with_logits(logits, smoothed)


LOSSES: dict[str, Loss] = {
    'cross_entropy': cross_entropy,
    'binary_cross_entropy': binary_cross_entropy,
}
