"""SAM's image encoder at any image size, under the parameters of its native size."""

from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention, ImageEncoderViT, get_rel_pos
from torch import Tensor

from gps_seg.models.relative_attention import relative_attention

ATTENTIONS = ('auto', 'stock', 'fused', 'pieces')
# From this many tokens on, one fused kernel is both faster and smaller than the stock attention.
# Below, where it would save little memory, its longer heads cost more than they bring.
MIN_FUSED_TOKENS = 2048


class ImageEncoder(ImageEncoderViT):
    """The stock encoder, whose positions follow the size of the image.

    Parameters have the names and shapes of the stock encoder at its native `img_size`, so that its
    checkpoints fit. At other sizes the absolute positions are interpolated here and the relative
    positions of blocks with global attention by `segment_anything` itself; at the native size the
    result is the stock encoder's.

    attention: how attention is computed, one of ATTENTIONS; all are the same function. See
    `EncoderAttention`. Raises ValueError for another name.
    """

    def __init__(self, *args: Any, attention: str = 'auto', **kwargs: Any) -> None:
        if attention not in ATTENTIONS:
            raise ValueError(f'attention must be one of {", ".join(ATTENTIONS)}, got {attention!r}')
        super().__init__(*args, **kwargs)
        for block in self.blocks:
            # The stock module with another forward: its parameters and their names stay.
            block.attn.__class__ = EncoderAttention
            block.attn.way = attention

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, 3, H, W), sides multiples of 16. Returns (B, C, H / 16, W / 16)."""
        return self.neck(self.tokens(images).permute(0, 3, 1, 2))  # B H W C -> B C H W

    def tokens(self, images: Tensor) -> Tensor:
        """The output of the last block, (B, H / 16, W / 16, embed_dim)."""
        tokens = self.patch_embed(images)
        tokens = tokens + self.positions(*tokens.shape[1:3])
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def positions(self, height: int, width: int) -> Tensor:
        """The absolute positions of a grid of patches, (1, height, width, embed_dim).

        Bicubic with antialiasing, the way in which timm resamples plain ViTs: a ViT loaded here
        behaves as it does there, and a much smaller grid averages positions, not skips them.
        """
        assert self.pos_embed is not None
        if self.pos_embed.shape[1:3] == (height, width):
            return self.pos_embed
        resized = F.interpolate(
            self.pos_embed.permute(0, 3, 1, 2), (height, width), mode='bicubic', antialias=True
        )
        return resized.permute(0, 2, 3, 1)


class EncoderAttention(Attention):
    """SAM's attention with relative positions, in the way that takes little memory.

    way: 'stock', as `segment_anything` computes it: all of the (tokens x tokens) matrices are kept
    for backward. 'pieces': `relative_attention`, which keeps the projected tokens alone. 'fused':
    one kernel for heads that are longer by the relative positions, which keeps these.

    'auto' takes pieces. On one thread of a CPU they are the fastest too (64 x 64 tokens of ViT-B,
    fp32: 0.9 s and 2.2 s for the two passes, fused 1.8 s and 4.3 s). On a GPU, attention over the
    whole image is fused. Whatever traces the model (export, compile, torch.func) gets stock
    operations: fused from MIN_FUSED_TOKENS on.
    """

    way = 'auto'

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, H, W, C) tokens. Returns the same shape."""
        way = self._way_for(x)
        if way == 'pieces':
            return self.pieces(x)
        return self.fused(x) if way == 'fused' else super().forward(x)

    def _way_for(self, x: Tensor) -> str:
        if not self.use_rel_pos:
            return 'stock'
        traced = _is_traced()
        if self.way != 'auto' and not (traced and self.way == 'pieces'):
            return self.way
        many = x.shape[1] * x.shape[2] >= MIN_FUSED_TOKENS
        if many and (traced or x.is_cuda):
            return 'fused'
        return 'stock' if traced else 'pieces'

    def pieces(self, x: Tensor) -> Tensor:
        """The same function as the stock forward, a piece of the matrices at a time."""
        batch, height, width, _ = x.shape
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, -1)
        out = relative_attention(
            qkv,
            get_rel_pos(height, height, self.rel_pos_h),
            get_rel_pos(width, width, self.rel_pos_w),
            grid=(height, width),
            scale=self.scale,
        )
        return self.proj(out.reshape(batch, height, width, -1))

    def fused(self, x: Tensor) -> Tensor:
        """The same function as the stock forward, as one product of lengthened heads.

        The bias of a query q at a key in row i, column j is q . R_h[i] + q . R_w[j]. Appending all
        q . R_h and q . R_w to the query, and the one-hot row and column to the key, makes it part
        of the inner product, which `scaled_dot_product_attention` needs no mask for.
        """
        batch, height, width, _ = x.shape
        num_tokens = height * width
        qkv = self.qkv(x).reshape(batch, num_tokens, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, tokens, head_dim)
        head_dim = value.shape[-1]
        rows, columns = self._relative_biases(query, height, width)
        query = torch.cat([query * self.scale, rows, columns], dim=-1)
        places = _one_hot_places(height, width, like=key)
        key = torch.cat([key, places.expand(batch, self.num_heads, -1, -1)], dim=-1)
        # The fused kernels need heads of equal length; zeros add nothing to the output.
        value = F.pad(value, (0, height + width))
        out = F.scaled_dot_product_attention(query, key, value, scale=1.0)[..., :head_dim]
        return self.proj(out.transpose(1, 2).reshape(batch, height, width, -1))

    def _relative_biases(self, query: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Each query's bias at every row (B, heads, tokens, H) and column (..., W)."""
        grid = query.unflatten(2, (height, width))
        along_height = get_rel_pos(height, height, self.rel_pos_h)
        along_width = get_rel_pos(width, width, self.rel_pos_w)
        rows = torch.einsum('bnhwc,hkc->bnhwk', grid, along_height)
        columns = torch.einsum('bnhwc,wkc->bnhwk', grid, along_width)
        return rows.flatten(2, 3), columns.flatten(2, 3)


def _one_hot_places(height: int, width: int, *, like: Tensor) -> Tensor:
    """The one-hot row and column of every token, (height * width, height + width)."""
    rows = torch.eye(height, device=like.device, dtype=like.dtype).repeat_interleave(width, dim=0)
    columns = torch.eye(width, device=like.device, dtype=like.dtype).repeat(height, 1)
    return torch.cat([rows, columns], dim=1)


def _is_traced() -> bool:
    """Whether operations are recorded, or transformed, instead of only computed."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._are_functorch_transforms_active()
    )
