"""What `nn.MultiheadAttention` does after its input projections."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attend(
    layer: nn.MultiheadAttention,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of projected queries (L, B, E), keys and values (S, B, E), and the out-projection.

    Masks, options and what is returned are those of `nn.MultiheadAttention.forward`, and so is the
    order in memory, (L, B, E) with `batch_first` too: a dropout after it draws its mask in that
    order. Unlike there the out-projection is called as a layer, so that its own sparse training
    applies.
    """
    if is_causal and attn_mask is None:
        raise ValueError('is_causal only says what attn_mask is; give attn_mask too')
    heads = layer.num_heads
    # L B E -> B heads L d
    q, k, v = (x.contiguous().unflatten(-1, (heads, -1)).permute(1, 2, 0, 3) for x in (q, k, v))
    mask = _additive_mask(attn_mask, key_padding_mask, heads, q)
    dropout = layer.dropout if layer.training else 0.0
    weights = None
    if need_weights:
        logits = (q * math.sqrt(1.0 / q.shape[-1])) @ k.transpose(-2, -1)
        weights = (logits if mask is None else logits + mask).softmax(-1)
        weights = F.dropout(weights, dropout) if dropout else weights
        attended = weights @ v
        weights = weights.mean(1) if average_attn_weights else weights
    else:
        causal = is_causal and key_padding_mask is None
        attended = F.scaled_dot_product_attention(
            q, k, v, None if causal else mask, dropout, is_causal=causal
        )
    output = layer.out_proj(attended.permute(2, 0, 1, 3).flatten(2))  # B heads L d -> L B E
    return output.transpose(0, 1) if layer.batch_first else output, weights


def _additive_mask(
    attn_mask: Tensor | None, key_padding_mask: Tensor | None, heads: int, like: Tensor
) -> Tensor | None:
    """Both masks as one to add to the logits, broadcastable to (B, heads, L, S)."""
    mask = None
    if attn_mask is not None:
        mask = _as_float(attn_mask, like)
        if mask.dim() == 3:
            mask = mask.unflatten(0, (-1, heads))  # B * heads L S
    if key_padding_mask is not None:
        padding = _as_float(key_padding_mask, like)[:, None, None]
        mask = padding if mask is None else mask + padding
    return mask


def _as_float(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, -torch.inf)
