"""Attention over the tokens of an image and prompts, in the blocks of other libraries."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@contextmanager
def prompted_windows(attention: Any, prompts: Tensor) -> Iterator[list[Tensor]]:
    """Let prompts (B, num, C) take part in timm's windowed attention while the block runs.

    Every window of an image sees the same prompts, at no relative position and behind no mask.
    Yields a list, to which the prompts' own outputs are appended: their mean over the windows.
    """
    inner, positions, num = attention.forward, attention._get_rel_pos_bias, prompts.shape[1]
    outputs: list[Tensor] = []

    def forward(x: Tensor, mask: Tensor | None = None) -> Tensor:
        tokens, per_image = x.shape[1], len(x) // len(prompts)
        mask = None if mask is None else F.pad(mask, (0, num, 0, num))
        out = inner(torch.cat([x, _guests(prompts, x)], dim=1), mask=mask)
        outputs.append(out[:, tokens:].unflatten(0, (-1, per_image)).mean(1))
        return out[:, :tokens].contiguous()

    def padded() -> Tensor:
        return F.pad(positions(), (0, num, 0, num))

    with _replaced(attention, forward=forward, _get_rel_pos_bias=padded):
        yield outputs


@contextmanager
def prompted_grid(attention: Any, prompts: Tensor) -> Iterator[None]:
    """Let prompts (B, num, C) take part in attention of segment_anything while the block runs.

    In a windowed block every window sees the same prompts, in a global one the whole image does; at
    no relative position either way. The prompts' own outputs are not computed.
    """

    def forward(x: Tensor) -> Tensor:
        return grid_attention(attention, x, _guests(prompts, x))

    with _replaced(attention, forward=forward):
        yield


def grid_attention(attention: Any, x: Tensor, prompts: Tensor) -> Tensor:
    """What a grid of tokens reads of itself and of prompts, by the layers of SAM's attention.

    x: (B, H, W, C). prompts: (B, num, C). Returns (B, H, W, C).

    The bias of a query q at a key in row i, column j is q . R_h[i] + q . R_w[j]; for a prompt there
    is none. With all q . R_h and q . R_w appended to the query, and the one-hot row and column to
    the key, it is part of the inner product, so that no (tokens x tokens) matrix is kept.
    """
    batch, height, width, _ = x.shape
    num = height * width
    tokens = torch.cat([x.flatten(1, 2), prompts], dim=1)
    qkv = attention.qkv(tokens).unflatten(-1, (3, attention.num_heads, -1))
    query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, tokens, head_dim)
    query, head_dim = query[:, :, :num], value.shape[-1]
    lengthened = query * attention.scale
    if attention.use_rel_pos:
        biases = _biases(attention, query.unflatten(2, (height, width)))
        lengthened = torch.cat([lengthened, *biases], dim=-1)
        places = _one_hot_places(height, width, like=key)
        places = F.pad(places, (0, 0, 0, prompts.shape[1]))
        key = torch.cat([key, places.expand(*key.shape[:2], -1, -1)], dim=-1)
        # The fused kernels need heads of equal length; zeros add nothing to the output.
        value = F.pad(value, (0, height + width))
    out = F.scaled_dot_product_attention(lengthened, key, value, scale=1.0)[..., :head_dim]
    return attention.proj(out.transpose(1, 2).reshape(batch, height, width, -1))


def _biases(attention: Any, grid: Tensor) -> tuple[Tensor, Tensor]:
    """The bias of each query at every row and column. grid: (B, heads, H, W, head_dim)."""
    # Only a model of that package gets here.
    from segment_anything.modeling.image_encoder import get_rel_pos

    height, width = grid.shape[2:4]
    rows = get_rel_pos(height, height, attention.rel_pos_h)
    columns = get_rel_pos(width, width, attention.rel_pos_w)
    return (
        torch.einsum('bnhwc,hkc->bnhwk', grid, rows).flatten(2, 3),
        torch.einsum('bnhwc,wkc->bnhwk', grid, columns).flatten(2, 3),
    )


def _one_hot_places(height: int, width: int, *, like: Tensor) -> Tensor:
    """The one-hot row and column of every token, (H * W, H + W)."""
    rows = torch.eye(height, device=like.device, dtype=like.dtype).repeat_interleave(width, dim=0)
    columns = torch.eye(width, device=like.device, dtype=like.dtype).repeat(height, 1)
    return torch.cat([rows, columns], dim=1)


def _guests(prompts: Tensor, windows: Tensor) -> Tensor:
    """The prompts of each window's image. windows: one after the other, image after image."""
    return prompts.to(windows.dtype).repeat_interleave(len(windows) // len(prompts), dim=0)


@contextmanager
def _replaced(module: Any, **functions: Callable[..., Any]) -> Iterator[None]:
    """Let a module use other functions, past its class, within the block."""
    before = {name: module.__dict__[name] for name in functions if name in module.__dict__}
    module.__dict__.update(functions)
    try:
        yield
    finally:
        for name in functions:
            del module.__dict__[name]
        module.__dict__.update(before)
