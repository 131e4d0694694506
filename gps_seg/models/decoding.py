"""Decoding a batch of images with one prompt each, by the stock mask decoder's modules."""

from collections.abc import Sequence

import torch
from segment_anything.modeling import MaskDecoder
from torch import Tensor

from gps_seg.models.class_masks import ClassMasks


def decode(
    decoder: MaskDecoder,
    image_embeddings: Tensor,
    image_positions: Tensor,
    sparse_prompts: Tensor,
    dense_prompts: Tensor,
    *,
    classes: ClassMasks | None = None,
) -> tuple[Tensor, Tensor]:
    """Decode each image and prompt of a batch: the single mask (token 0), or one for each class.

    image_embeddings: (B, C, h, w). image_positions: (1, C, h, w). sparse_prompts: (B, N, C), N may
    be 0. dense_prompts: (B or 1, C, h, w). Returns low-resolution logits (B, M, 4h, 4w) with M = 1
    or the number of `classes`, and the decoder's final IoU token (B, C), for `predicted_iou`.

    The decoder's own `forward` takes one image and many prompts; given B images it would decode
    B x B pairs. Its tokens all take part in the attention, as they do there, but only the masks
    that are used are computed from their tokens.
    """
    queries, upscaled = _attended(
        decoder, image_embeddings, image_positions, sparse_prompts, dense_prompts, classes
    )
    if classes is None:
        weights = decoder.output_hypernetworks_mlps[0](queries[:, 1])[:, None]
    else:
        of_classes = queries[:, 1 + decoder.num_mask_tokens :][:, : classes.num]
        weights = classes.mask_weights(of_classes)
    logits = weights @ upscaled.flatten(2)
    return logits.unflatten(2, upscaled.shape[2:]), queries[:, 0]


def decode_tokens(
    decoder: MaskDecoder,
    image_embeddings: Tensor,
    image_positions: Tensor,
    sparse_prompts: Tensor,
    dense_prompts: Tensor,
    *,
    tokens: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Decode each image and prompt of a batch: the masks of SAM's own tokens, and their quality.

    The arguments are those of `decode`. tokens: numbers of mask tokens; 0 is the single mask, 1 to
    3 are the masks of an ambiguous prompt. Returns low-resolution logits (B, M, 4h, 4w) and the
    decoder's own estimates of their IoU, (B, M), for the M tokens.
    """
    queries, upscaled = _attended(
        decoder, image_embeddings, image_positions, sparse_prompts, dense_prompts, None
    )
    networks = decoder.output_hypernetworks_mlps
    weights = torch.stack([networks[token](queries[:, 1 + token]) for token in tokens], dim=1)
    logits = weights @ upscaled.flatten(2)
    qualities = decoder.iou_prediction_head(queries[:, 0])[:, list(tokens)]
    return logits.unflatten(2, upscaled.shape[2:]), qualities


def _attended(
    decoder: MaskDecoder,
    image_embeddings: Tensor,
    image_positions: Tensor,
    sparse_prompts: Tensor,
    dense_prompts: Tensor,
    classes: ClassMasks | None,
) -> tuple[Tensor, Tensor]:
    """The decoded tokens (B, N, C), and the upscaled features (B, C / 8, 4h, 4w)."""
    batch = image_embeddings.shape[0]  # len() would be a constant in an exported graph
    output_tokens = [decoder.iou_token.weight, decoder.mask_tokens.weight]
    if classes is not None:
        output_tokens.append(classes.tokens.weight)
    tokens = torch.cat([torch.cat(output_tokens).expand(batch, -1, -1), sparse_prompts], dim=1)
    queries, keys = decoder.transformer(image_embeddings + dense_prompts, image_positions, tokens)
    features = keys.transpose(1, 2).reshape(image_embeddings.shape)  # B hw C -> B C h w
    return queries, decoder.output_upscaling(features)


def predicted_iou(decoder: MaskDecoder, iou_tokens: Tensor) -> Tensor:
    """The decoder's own estimate of the single mask's IoU. iou_tokens: (B, C). Returns (B,)."""
    return decoder.iou_prediction_head(iou_tokens)[:, 0]
