"""Scores of classifiers from the class, and the rank of the true class, of each image."""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


def ranks_of_truth(scores: NDArray[np.float32], labels: Labels) -> Labels:
    """How many classes come before the true one of each image; 0 is right at once.

    scores: (N, C). labels: (N,) in [0, C). Of equal scores the lower class comes first, as `argmax`
    has it.

    >>> ranks_of_truth(np.array([[0.1, 0.7, 0.2], [0.4, 0.2, 0.4]]), np.array([2, 2]))
    array([1, 1])
    """
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    before = np.arange(scores.shape[1]) < labels[:, None]
    return ((scores > own) | ((scores == own) & before)).sum(axis=1)


def top_k(ranks: Labels, k: int) -> float:
    """The share of images whose true class is among the first k, in percent."""
    return float(100 * (ranks < k).mean())


def class_accuracies(ranks: Labels, labels: Labels, num_classes: int) -> NDArray[np.float64]:
    """The share of each class's images that are right, (C,) in percent; nan without images."""
    right = np.bincount(labels, weights=ranks == 0, minlength=num_classes)
    total = np.bincount(labels, minlength=num_classes)
    with np.errstate(invalid='ignore'):
        return 100 * right / total
