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
    """Attention of projected queries (B, L, E), keys and values (B, S, E), and the out-projection.

    With `batch_first=False` the first two dimensions are the other way round, as in the layer.
    Masks, options and what is returned are those of `nn.MultiheadAttention.forward`; unlike that,
    the out-projection is called as a layer, so that its own sparse training applies.
    """
    if not layer.batch_first:
        q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    if is_causal and attn_mask is None:
        raise ValueError('is_causal only says what attn_mask is; give attn_mask too')
    heads = layer.num_heads
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))  # B heads L d
    mask = _additive_mask(attn_mask, key_padding_mask, heads, q)
    dropout = layer.dropout if layer.training else 0.0
    weights = None
    if need_weights:
        logits = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)
        weights = (logits if mask is None else logits + mask).softmax(-1)
        weights = F.dropout(weights, dropout) if dropout else weights
        attended = weights @ v
        weights = weights.mean(1) if average_attn_weights else weights
    else:
        causal = is_causal and key_padding_mask is None
        attended = F.scaled_dot_product_attention(
            q, k, v, None if causal else mask, dropout, is_causal=causal
        )
    output = layer.out_proj(attended.transpose(1, 2).flatten(2))
    return output if layer.batch_first else output.transpose(0, 1), weights


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
