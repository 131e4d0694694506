"""The encoder against segment_anything's and against a plain ViT of timm."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import timm
import torch
from segment_anything.modeling.image_encoder import Attention, ImageEncoderViT
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from gps_seg.models import image_encoder
from gps_seg.models.architectures import build_sam_parts
from gps_seg.models.image_encoder import FusedAttention, ImageEncoder
from gps_seg.models.weights import sam_state_from_timm

SIZES: dict[str, Any] = dict(
    img_size=64,
    embed_dim=24,
    depth=3,
    num_heads=2,
    out_chans=16,
    norm_layer=partial(nn.LayerNorm, eps=1e-6),
    use_rel_pos=True,
    window_size=3,
    global_attn_indexes=(1,),
)


Encoders = tuple[ImageEncoder, ImageEncoderViT]


@pytest.fixture
def encoders(randomise: Callable[[Any], Any]) -> Encoders:
    ours = randomise(ImageEncoder(**SIZES))
    stock = ImageEncoderViT(**SIZES)
    stock.load_state_dict(ours.state_dict())
    return ours, stock


def test_at_its_native_size_it_is_the_stock_encoder_bit_for_bit(
    encoders: Encoders, images: Callable[..., Tensor]
) -> None:
    ours, stock = encoders
    assert torch.equal(ours(images(2)), stock(images(2)))
    assert ours.positions(4, 4) is ours.pos_embed


def test_fused_attention_in_every_block_changes_nothing(
    encoders: Encoders, images: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, stock = encoders
    monkeypatch.setattr(image_encoder, 'MIN_FUSED_TOKENS', 0)
    torch.testing.assert_close(ours(images(2)), stock(images(2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('native', [3, 5, 8])
def test_fused_attention_has_the_output_and_gradients_of_the_stock_one(
    randomise: Callable[[Any], Any], native: int
) -> None:
    stock = Attention(12, num_heads=2, use_rel_pos=True, input_size=(native, native)).double()
    randomise(stock)
    inputs = torch.randn(2, 5, 5, 12, dtype=torch.float64)
    results: list[list[Tensor]] = []
    for attention in (stock, stock):
        ours = attention.__class__ is Attention and bool(results)
        if ours:
            attention.__class__ = FusedAttention
        tokens = inputs.clone().requires_grad_()
        out = attention.fused(tokens) if ours else attention(tokens)
        gradients = torch.autograd.grad(out.sin().sum(), [tokens, *attention.parameters()])
        results.append([out, *gradients])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_many_tokens_take_the_fused_path_and_few_do_not(
    encoders: Encoders, images: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = encoders
    grids = []
    fused = FusedAttention.fused

    def watched(self: FusedAttention, x: Tensor) -> Tensor:
        grids.append(tuple(x.shape[1:3]))
        return fused(self, x)

    monkeypatch.setattr(FusedAttention, 'fused', watched)
    ours(images(1, size=64))
    assert not grids
    ours(images(1, size=16 * 46))  # 46 * 46 = 2116 tokens in the one global block
    assert grids == [(46, 46)]


@pytest.mark.parametrize('grid', [1, 2, 6, 9])
def test_other_sizes_work_and_positions_keep_their_place(
    encoders: Encoders, images: Callable[..., Tensor], grid: int
) -> None:
    ours, _ = encoders
    assert ours(images(1, size=16 * grid)).shape == (1, 16, grid, grid)
    # A field that rises from top to bottom alone must still do so, and keep its mean.
    rising = torch.arange(4.0)[None, :, None, None].expand(1, 4, 4, 24)
    ours.pos_embed.data.copy_(rising)
    resized = ours.positions(grid, grid)
    assert resized.shape == (1, grid, grid, 24)
    assert (resized.diff(dim=1) > 0).all()
    torch.testing.assert_close(resized.diff(dim=2), torch.zeros_like(resized.diff(dim=2)))
    torch.testing.assert_close(resized.mean(), torch.tensor(1.5))


def test_every_position_gets_a_gradient_at_another_size(
    encoders: Encoders, images: Callable[..., Tensor]
) -> None:
    ours, _ = encoders
    ours(images(1, size=96)).square().sum().backward()
    assert ours.pos_embed.grad.abs().sum(-1).min() > 0
    assert ours.blocks[1].attn.rel_pos_h.grad.abs().sum(-1).min() > 0


@pytest.mark.parametrize('size', [224, 256])
def test_blocks_of_a_timm_vit_give_the_same_tokens(size: int) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model('vit_tiny_patch16_224', pretrained=False, depth=3).eval()
    ours: Any = build_sam_parts('vit_tiny', size)['image_encoder']
    del ours.blocks[3:]
    loaded = ours.load_state_dict(
        {
            n.removeprefix('image_encoder.'): t
            for n, t in sam_state_from_timm(theirs.state_dict()).items()
        },
        strict=False,
    )
    assert not loaded.unexpected_keys
    assert all('rel_pos' in name or name.startswith('neck') for name in loaded.missing_keys)
    inputs = torch.randn(1, 3, size, size)
    grid = size // 16
    positions = resample_abs_pos_embed(theirs.pos_embed, [grid, grid])[:, 1:]
    with torch.no_grad():
        expected = theirs.patch_embed.proj(inputs).flatten(2).transpose(1, 2) + positions
        expected = theirs.blocks(expected)
        found = ours.tokens(inputs).flatten(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
