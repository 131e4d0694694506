"""Rounds of prompts and answers about objects, as SAM was trained.

Kirillov et al., arXiv:2304.02643, appendix A, "Training algorithm" and "Losses".
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, PromptEncoder
from torch import Tensor

from gps_seg.models.decoding import decode_tokens
from gps_seg.models.object_batch import ObjectBatch, Point, point_of_error

SINGLE = (0,)
AMBIGUOUS = (1, 2, 3)


def embedded_prompts(
    encoder: PromptEncoder, points: Sequence[Sequence[Point]], boxes: Tensor | None, masks: Any
) -> tuple[Tensor, Tensor]:
    """Sparse (N, T, C) and dense (N, C, h, w) embeddings of N objects with equally many points.

    boxes: (N, 4) or None. masks: (N, 1, 4h, 4w) logits or None.
    """
    device = encoder.no_mask_embed.weight.device
    given = None
    if points[0]:
        each = torch.tensor(points, dtype=torch.float32, device=device)
        given = (each[..., :2], each[..., 2])
    # Coordinates times random frequencies: half precision would move the prompts by pixels.
    with torch.autocast(device.type, enabled=False):
        return encoder(points=given, boxes=boxes, masks=masks)


def answers(
    encoder: PromptEncoder,
    decoder: MaskDecoder,
    embeddings: Tensor,
    objects: ObjectBatch,
    points: Sequence[Sequence[Point]],
    masks: Tensor | None,
    *,
    tokens: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """What the decoder answers about N objects: logits (N, M, 4h, 4w) and qualities (N, M).

    embeddings: (B, C, h, w), of the images, each encoded once whatever is asked about it. points:
    of each object so far. masks: (N, 1, 4h, 4w), the logits of the round before; None in the first.
    tokens: the M mask tokens.

    Objects with equally many tokens of a prompt are decoded together, so that each is embedded as
    `segment_anything` does it, without more padding.
    """
    groups: dict[tuple[bool, int], list[int]] = defaultdict(list)
    for number, by_box in enumerate(objects.by_box):
        groups[bool(by_box), len(points[number])].append(number)
    positions = encoder.get_dense_pe()
    order: list[int] = []
    parts = []
    for (by_box, _), numbers in groups.items():
        sparse, dense = embedded_prompts(
            encoder,
            [points[number] for number in numbers],
            objects.boxes[numbers] if by_box else None,
            None if masks is None else masks[numbers],
        )
        of_images = embeddings[objects.images[numbers]]
        parts.append(decode_tokens(decoder, of_images, positions, sparse, dense, tokens=tokens))
        order += numbers
    back = torch.tensor(order, device=embeddings.device).argsort()
    logits, qualities = (torch.cat(tensors)[back] for tensors in zip(*parts, strict=True))
    return logits, qualities


def upsampled(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits (N, M, h, w) at the size of the input, in fp32."""
    return F.interpolate(logits.float(), tuple(size), mode='bilinear', align_corners=False)


def iou_of_masks(predicted: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """The IoU of masks, (N, M), among the pixels that count; 1 where both are empty.

    predicted: (N, M, H, W) bool. truth, counted: (N, 1, H, W) bool.
    """
    # Autocast would count pixels in halves.
    with torch.autocast(predicted.device.type, enabled=False):
        weights = counted.flatten(2).float()
        known = truth.flatten(2) * weights
        masks = predicted.flatten(2).float()
        intersection = (masks @ known.transpose(1, 2))[..., 0]
        union = (masks @ weights.transpose(1, 2))[..., 0] + known.sum(2) - intersection
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)


def best_of(values: Tensor, choice: Tensor) -> Tensor:
    """From (N, M, ...), what each row's choice (N,) names: (N, 1, ...)."""
    return values[torch.arange(len(values), device=values.device), choice][:, None]


def no_point_rounds(objects: ObjectBatch, rounds: int) -> list[int]:
    """For each object the later round, drawn, that brings no new point but the mask alone."""
    if rounds == 1:
        return [0] * len(objects)
    return [int(generator.integers(1, rounds)) for generator in objects.generators]


def prompted_losses(
    encoder: PromptEncoder,
    decoder: MaskDecoder,
    loss: Any,
    embeddings: Tensor,
    objects: ObjectBatch,
    *,
    rounds: int,
) -> tuple[Tensor, Tensor]:
    """The losses of the masks and of the qualities, means over objects and rounds.

    loss: with `each`, the loss of every single mask.

    Round 1: a box or one point. A point is ambiguous: of three masks (tokens 1 to 3) the one with
    the smallest loss is learned. A box is often asked for one mask too, so that it teaches the
    single mask (token 0) as well, in equal parts. Later rounds: the logits of the round before as a
    mask, and one more point from its errors, but in one round of each object, which has the mask
    alone; these teach the single mask. Which mask is passed on is decided by the predicted quality,
    and without a gradient. Every mask that is learned, or could have been, teaches the quality
    head: the squared error of its estimate against the IoU.
    """
    skipped = no_point_rounds(objects, rounds)
    points: list[list[Point]] = [
        [] if by_box else [point]
        for by_box, point in zip(objects.by_box, objects.points, strict=True)
    ]
    passed: Tensor | None = None
    mask_losses, errors = [], []
    for number in range(rounds):
        tokens = SINGLE if number else (*SINGLE, *AMBIGUOUS)
        logits, qualities = answers(
            encoder, decoder, embeddings, objects, points, passed, tokens=tokens
        )
        with torch.no_grad():
            masks = upsampled(logits, objects.truth.shape[2:])
            ious = iou_of_masks(masks > 0, objects.truth, objects.counted)
        squared = (qualities.float() - ious) ** 2
        if number:
            chosen = torch.zeros_like(objects.images)
            mask_losses.append(_learned(loss, logits, chosen, objects))
            errors.append(squared[:, 0])
        else:
            chosen = 1 + qualities[:, 1:].argmax(1)
            mask_losses.append(_first_losses(loss, logits, masks, objects))
            boxes_first = torch.tensor(objects.by_box, device=logits.device)
            errors.append(torch.where(boxes_first, squared.mean(1), squared[:, 1:].mean(1)))
        passed = best_of(logits, chosen).detach().float()
        if number + 1 < rounds:
            _ask_again(points, best_of(masks, chosen)[:, 0] > 0, objects, skipped, number + 1)
    return torch.stack(mask_losses).mean(), torch.stack(errors).mean()


def _first_losses(loss: Any, logits: Tensor, masks: Tensor, objects: ObjectBatch) -> Tensor:
    """The losses (N,) of the first round. masks: (N, 4, H, W), the logits at the input's size."""
    with torch.no_grad():
        each = loss.each(masks[:, 1:], objects.truth, objects.counted)
        best = 1 + each.argmin(1)
    losses = _learned(loss, logits, best, objects)
    boxes_first = torch.tensor(objects.by_box, device=logits.device)
    single = _learned(loss, logits, torch.zeros_like(best), objects, of=boxes_first)
    return torch.where(boxes_first, (losses + single) / 2, losses)


def _learned(
    loss: Any, logits: Tensor, choice: Tensor, objects: ObjectBatch, of: Tensor | None = None
) -> Tensor:
    """The loss of one mask of each object, (N,); zero outside of the objects `of`, (N,) bool."""
    chosen = best_of(logits, choice)
    if of is None:
        masks = upsampled(chosen, objects.truth.shape[2:])
        return loss.each(masks, objects.truth, objects.counted)[:, 0]
    masks = upsampled(chosen[of], objects.truth.shape[2:])
    losses = chosen.new_zeros(len(chosen), dtype=torch.float32)
    losses[of] = loss.each(masks, objects.truth[of], objects.counted[of])[:, 0]
    return losses


def _ask_again(
    points: list[list[Point]],
    shown: Tensor,
    objects: ObjectBatch,
    skipped: Sequence[int],
    number: int,
) -> None:
    """Add a point from the errors of the masks that were shown, (N, H, W) bool."""
    for place, generator in enumerate(objects.generators):
        if skipped[place] != number:
            truth, counted = objects.truth[place, 0], objects.counted[place, 0]
            points[place].append(point_of_error(shown[place], truth, counted, generator))
