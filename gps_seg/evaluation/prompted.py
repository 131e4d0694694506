"""How well a SAM answers each kind of prompt, and what its automatic generator finds.

The models are anything with the interfaces of `SamPredictor` and `SamAutomaticMaskGenerator` of
segment_anything, so that what is scored is what their users get.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Mask: TypeAlias = NDArray[np.bool_]

KINDS = ('none', 'box', 'point', '3points', 'box_mask')
FOUND = 0.5  # the IoU from which on an object counts as found


@dataclass(frozen=True, eq=False)
class Scene:
    """An image with its objects.

    image: (H, W, 3) uint8, red first. foreground: (H, W) bool. objects: (H, W) integers, 0 for
    none. counted: (H, W) bool; other pixels are taken out of truths and predictions.
    """

    image: NDArray[np.uint8]
    foreground: Mask
    objects: NDArray[np.integer]
    counted: Mask

    def truths(self) -> list[Mask]:
        """The objects that have a pixel that counts, in the order of their numbers."""
        numbers = np.unique(self.objects[self.counted])
        return [(self.objects == number) & self.counted for number in numbers[numbers > 0]]


@dataclass(frozen=True)
class Answer:
    """A mask, (H, W) bool, and the quality that the model gives it: its IoU, in [0, 1]."""

    mask: Mask
    quality: float


def middle_of(region: Mask) -> tuple[int, int]:
    """The pixel (x, y) of a region that lies farthest from its edge; the image's edge is one.

    Where SAM's evaluation clicks (arXiv:2304.02643, section 7.1). region: (H, W), not empty.
    """
    padded = np.pad(region, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), region.shape)
    return int(x), int(y)


def box_of(region: Mask) -> NDArray[np.float64]:
    """The first and last pixel of a region, (x0, y0, x1, y1)."""
    columns, rows = np.flatnonzero(region.any(axis=0)), np.flatnonzero(region.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], dtype=np.float64)


def next_click(mask: Mask, truth: Mask, counted: Mask) -> tuple[tuple[int, int], int]:
    """Where an answer errs most: the middle (x, y) of what is wrong, and 1 where it was missed."""
    error = (mask != truth) & counted
    x, y = middle_of(error if error.any() else truth)
    return (x, y), int(truth[y, x])


def ask(predictor: Any, kind: str, truth: Mask, counted: Mask) -> Answer:
    """What a predictor, whose image is set, answers to one kind of prompt about an object.

    kind: 'none': no prompt, the single mask. 'box': the object's box, the single mask. 'point': its
    middle, the one of three masks that the model itself prefers. '3points': two more clicks, each
    where the answer before errs most, which is handed on as a mask. 'box_mask': the answer to the
    box handed on with the box once more.
    """
    if kind == 'none':
        return _best(predictor.predict(multimask_output=False))[0]
    if kind in ('box', 'box_mask'):
        box = box_of(truth)
        answer, logits = _best(predictor.predict(box=box, multimask_output=False))
        if kind == 'box':
            return answer
        again = predictor.predict(box=box, mask_input=logits, multimask_output=False)
        return _best(again)[0]
    points, labels = [middle_of(truth)], [1]
    answer, logits = _best(_clicked(predictor, points, labels, None))
    for _ in range(2 if kind == '3points' else 0):
        point, label = next_click(answer.mask, truth, counted)
        points, labels = [*points, point], [*labels, label]
        answer, logits = _best(_clicked(predictor, points, labels, logits))
    return answer


def _clicked(
    predictor: Any,
    points: Sequence[tuple[int, int]],
    labels: Sequence[int],
    logits: NDArray[np.float32] | None,
) -> Any:
    return predictor.predict(
        point_coords=np.array(points, dtype=np.float64),
        point_labels=np.array(labels),
        mask_input=logits,
        multimask_output=len(points) == 1,
    )


def _best(answer: Any) -> tuple[Answer, NDArray[np.float32]]:
    """The mask of the highest quality, and its logits (1, h, w)."""
    masks, qualities, logits = answer
    best = int(np.argmax(qualities))
    return Answer(masks[best], float(qualities[best])), logits[best : best + 1]


def overlap(predicted: Mask, truth: Mask, counted: Mask) -> tuple[float, float]:
    """Dice and IoU, in [0, 1], of the pixels that count; 1 where both are empty."""
    predicted, truth = predicted & counted, truth & counted
    intersection, areas = int((predicted & truth).sum()), int(predicted.sum() + truth.sum())
    if not areas:
        return 1.0, 1.0
    return 2 * intersection / areas, intersection / (areas - intersection)


def prompt_scores(
    predictor: Any, scenes: Sequence[Scene] | Any, kinds: Sequence[str] = KINDS
) -> dict[str, float]:
    """Scores of each kind of prompt, in percent: `KIND/mDice`, `KIND/mIoU`, `KIND/quality_error`.

    predictor: with `set_image` and `predict`. scenes: also an iterator. The scores of 'none' are
    means over images, of the whole foreground (an image without any scores 100 where nothing is
    predicted, else 0); all others are means over objects. `quality_error` is the mean distance of
    the predicted IoU from the IoU. A kind about objects has no scores where no image has one.

    Raises ValueError for an unknown kind, and where there is no scene.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(f'no prompt {unknown[0]!r}; there are {", ".join(KINDS)}')
    rows: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
    num_scenes = 0
    for scene in scenes:
        num_scenes += 1
        predictor.set_image(scene.image)
        for kind in kinds:
            truths = [scene.foreground] if kind == 'none' else scene.truths()
            for truth in truths:
                answer = ask(predictor, kind, truth, scene.counted)
                dice, iou = overlap(answer.mask, truth, scene.counted)
                rows[kind].append((dice, iou, abs(answer.quality - iou)))
    if not num_scenes:
        raise ValueError('no image to score; is the split empty?')
    scores: dict[str, float] = {}
    for kind, found in rows.items():
        if found:
            means = 100 * np.mean(found, axis=0)
            names = ('mDice', 'mIoU', 'quality_error')
            scores |= {f'{kind}/{n}': float(m) for n, m in zip(names, means, strict=True)}
    return scores


def automatic_scores(generator: Any, scenes: Sequence[Scene] | Any) -> dict[str, float]:
    """What an automatic mask generator finds.

    generator: with `generate(image)`. Returns `automatic/recall`, the share of the true objects, in
    percent, of which a mask has an IoU of 0.5 or more among the pixels that count, and
    `automatic/masks`, masks an image. Without any object there is no recall.

    Raises ValueError where there is no scene.
    """
    found: list[bool] = []
    counts: list[int] = []
    for scene in scenes:
        masks = [made['segmentation'] for made in generator.generate(scene.image)]
        counts.append(len(masks))
        for truth in scene.truths():
            ious = (overlap(mask, truth, scene.counted)[1] for mask in masks)
            found.append(max(ious, default=0.0) >= FOUND)
    if not counts:
        raise ValueError('no image to score; is the split empty?')
    recall = {'automatic/recall': 100 * float(np.mean(found))} if found else {}
    return {**recall, 'automatic/masks': float(np.mean(counts))}
