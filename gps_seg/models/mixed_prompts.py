"""The losses of a SAM that shall go on answering prompts of every kind."""

from typing import Any

import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from gps_seg.models.decoding import decode_tokens
from gps_seg.models.labels import IGNORE_INDEX
from gps_seg.models.object_batch import objects_of
from gps_seg.models.prompt_rounds import SINGLE, iou_of_masks, prompted_losses, upsampled
from gps_seg.models.prompts import encode_prompts


def check_mixed(*, num_classes: int, rounds: int, loss: Any) -> None:
    """Raise ValueError where a model cannot be trained with mixed prompts."""
    if num_classes != 2:
        raise ValueError(
            f"prompt='mixed' is for two classes, got num_classes={num_classes}: SAM's own mask "
            'tokens know no classes; name one class as foreground (data.foreground), or set '
            "prompt='none'"
        )
    if rounds < 1:
        raise ValueError(f'prompt_rounds must be at least 1, got {rounds}')
    if not hasattr(loss, 'each'):
        raise ValueError(
            f"prompt='mixed' chooses among masks by the loss of each, which {type(loss).__name__} "
            "does not tell; set the model's loss to dict(type='BCESoftIoULoss')"
        )


def mixed_losses(
    model: Any, embeddings: Tensor, targets: Tensor, data_samples: list[SegDataSample] | None
) -> dict[str, Tensor]:
    """The losses of a batch whose images are encoded.

    embeddings: (B, C, h, w). targets: (B, 1, H, W), classes and IGNORE_INDEX. data_samples: with
    their objects, see `objects_of`.

    Returns `loss_no_prompt`: of the foreground without any prompt, the mean over images.
    `loss_prompted`: of the objects, the mean over objects and rounds; zero for a batch without any.
    `loss_quality`: the squared errors of the IoU head, the mean of both. The first two weigh
    equally, so that images of many objects change nothing about the balance.
    """
    counted = targets != IGNORE_INDEX
    mask_loss, quality_loss = _without_prompt(model, embeddings, targets == 1, counted)
    losses = {'loss_no_prompt': mask_loss}
    objects = objects_of(counted, data_samples or [])
    if len(objects):
        prompted, quality = prompted_losses(
            model.prompt_encoder,
            model.mask_decoder,
            model.loss_function,
            embeddings,
            objects,
            rounds=model.prompt_rounds,
        )
        losses |= {'loss_prompted': prompted, 'loss_quality': (quality_loss + quality) / 2}
    else:
        losses |= {'loss_prompted': mask_loss * 0, 'loss_quality': quality_loss}
    return losses


def _without_prompt(
    model: Any, embeddings: Tensor, truth: Tensor, counted: Tensor
) -> tuple[Tensor, Tensor]:
    positions, sparse, dense = encode_prompts(model.prompt_encoder, len(embeddings))
    logits, qualities = decode_tokens(
        model.mask_decoder, embeddings, positions, sparse, dense, tokens=SINGLE
    )
    masks = upsampled(logits, truth.shape[2:])
    with torch.no_grad():
        ious = iou_of_masks(masks > 0, truth, counted)
    losses = model.loss_function.each(masks, truth, counted)
    return losses.mean(), ((qualities.float() - ious) ** 2).mean()
