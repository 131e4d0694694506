"""Decoding a batch of images with one prompt each, by the stock mask decoder's modules."""

import torch
from segment_anything.modeling import MaskDecoder
from torch import Tensor


def decode(
    decoder: MaskDecoder,
    image_embeddings: Tensor,
    image_positions: Tensor,
    sparse_prompts: Tensor,
    dense_prompts: Tensor,
) -> tuple[Tensor, Tensor]:
    """Decode the single mask (mask token 0) of each image and prompt of a batch.

    image_embeddings: (B, C, h, w). image_positions: (1, C, h, w). sparse_prompts: (B, N, C), N may
    be 0. dense_prompts: (B or 1, C, h, w). Returns low-resolution logits (B, 1, 4h, 4w) and the
    decoder's final IoU token (B, C), for `predicted_iou`.

    The decoder's own `forward` takes one image and many prompts; given B images it would decode
    B x B pairs. Its three multi-mask tokens take part in the attention, as they do there, but only
    the mask that is used is computed from its token.
    """
    batch = len(image_embeddings)
    output_tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([output_tokens.expand(batch, -1, -1), sparse_prompts], dim=1)
    queries, keys = decoder.transformer(image_embeddings + dense_prompts, image_positions, tokens)
    features = keys.transpose(1, 2).reshape(image_embeddings.shape)  # B hw C -> B C h w
    upscaled = decoder.output_upscaling(features)
    weights = decoder.output_hypernetworks_mlps[0](queries[:, 1])
    logits = weights[:, None] @ upscaled.flatten(2)
    return logits.unflatten(2, upscaled.shape[2:]), queries[:, 0]


def predicted_iou(decoder: MaskDecoder, iou_tokens: Tensor) -> Tensor:
    """The decoder's own estimate of the single mask's IoU. iou_tokens: (B, C). Returns (B,)."""
    return decoder.iou_prediction_head(iou_tokens)[:, 0]
