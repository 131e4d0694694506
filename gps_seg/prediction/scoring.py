"""How well masks agree with the truth, image by image: overlap and surfaces."""

from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from numpy.typing import NDArray
from torch import Tensor

from gps_seg.evaluation import confusion, image_scores
from gps_seg.evaluation.dice import IGNORE_INDEX, Counts

TOLERANCE = 2.0  # pixels

Mask = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class ImageScore:
    """The scores of one image; means over the foreground classes.

    name: of the image. counts: (C, C) pixels by true and predicted class. dice, iou, surface_dice:
    in percent; a class that neither mask has counts as agreement, one that a single mask has as 0.
    hd95: in pixels, over the classes that both masks have; nan where there is none. missed: classes
    that only the truth has. invented: classes that only the prediction has.
    """

    name: str
    counts: Counts
    dice: float
    iou: float
    surface_dice: float
    hd95: float
    missed: int
    invented: int

    @property
    def is_empty(self) -> bool:
        """Whether neither mask has any foreground."""
        return not self.counts[1:].sum() and not self.counts[:, 1:].sum()


def score_image(
    name: str,
    predicted: Mask,
    truth: Mask,
    num_classes: int,
    *,
    tolerance: float = TOLERANCE,
    ignore_index: int = IGNORE_INDEX,
) -> ImageScore:
    """Score a mask of class ids, (H, W), against the true one.

    tolerance: how far two surfaces may lie apart, in pixels, and still agree (surface Dice).
    Pixels whose truth is `ignore_index` are counted as background in both masks for the surfaces,
    and not at all for the overlap.

    Raises ValueError, naming the image, where the shapes differ or a value is no class.
    """
    try:
        counts = confusion(predicted, truth, num_classes, ignore_index)
    except ValueError as error:
        raise ValueError(f'{name}: {error}') from error
    dice, iou = image_scores(counts)
    ignored = truth == ignore_index
    masks = [np.where(ignored, 0, mask) for mask in (predicted, truth)]
    in_prediction, in_truth = ([(mask == c).any() for c in range(1, num_classes)] for mask in masks)
    both = [i + 1 for i in range(num_classes - 1) if in_prediction[i] and in_truth[i]]
    distances, agreements = _surfaces(masks[0], masks[1], both, tolerance)
    # A class in neither counts as agreement, as it does for Dice.
    absent = sum(not p and not t for p, t in zip(in_prediction, in_truth, strict=True))
    return ImageScore(
        name,
        counts,
        float(dice),
        float(iou),
        100 * (sum(agreements) + absent) / (num_classes - 1),
        float(np.mean(distances)) if distances else float('nan'),
        sum(t and not p for p, t in zip(in_prediction, in_truth, strict=True)),
        sum(p and not t for p, t in zip(in_prediction, in_truth, strict=True)),
    )


def _surfaces(
    predicted: Mask, truth: Mask, classes: list[int], tolerance: float
) -> tuple[list[float], list[float]]:
    """HD95 in pixels and surface Dice in [0, 1] of each of the classes, which both masks have."""
    if not classes:
        return [], []
    one, other = (_one_hot(mask, classes) for mask in (predicted, truth))
    distances = compute_hausdorff_distance(one, other, include_background=True, percentile=95)
    agreements = compute_surface_dice(
        one, other, class_thresholds=[tolerance] * len(classes), include_background=True
    )
    return distances[0].tolist(), agreements[0].tolist()


def _one_hot(mask: Mask, classes: list[int]) -> Tensor:
    return torch.from_numpy(np.stack([mask == index for index in classes]))[None]
