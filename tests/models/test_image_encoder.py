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

from gps_seg.models import relative_attention
from gps_seg.models.architectures import build_sam_parts
from gps_seg.models.image_encoder import EncoderAttention, ImageEncoder
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
    encoders: Encoders, images: Callable[..., Tensor]
) -> None:
    ours, stock = encoders
    set_way(ours, 'fused')
    torch.testing.assert_close(ours(images(2)), stock(images(2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('way', ['fused', 'pieces'])
@pytest.mark.parametrize('native', [3, 5, 8])
def test_attention_has_the_output_and_gradients_of_the_stock_one(
    randomise: Callable[[Any], Any], native: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pieces of one row of one head, of some rows, and of several windows with all their heads.
    for piece in (1, 300, 10_000):
        monkeypatch.setattr(relative_attention, 'PIECE', piece)
        attention = Attention(12, num_heads=3, use_rel_pos=True, input_size=(native, native))
        randomise(attention.double())
        inputs = torch.randn(5, 5, 5, 12, dtype=torch.float64)
        results: list[list[Tensor]] = []
        for kind in (Attention, EncoderAttention):
            attention.__class__ = kind
            attention.way = way
            tokens = inputs.clone().requires_grad_()
            out = attention(tokens)
            gradients = torch.autograd.grad(out.sin().sum(), [tokens, *attention.parameters()])
            results.append([out, *gradients])
        for expected, found in zip(*results, strict=True):
            torch.testing.assert_close(found, expected)


def by_definition(qkv: Tensor, along_height: Tensor, along_width: Tensor, scale: float) -> Tensor:
    """The attention of each query written out, without any matrix trick."""
    batch, _, _, heads, _ = qkv.shape
    height, width = len(along_height), len(along_width)
    out = torch.zeros_like(qkv[:, :, 0])
    for image in range(batch):
        for head in range(heads):
            query, key, value = qkv[image, :, :, head].unbind(1)
            for place in range(height * width):
                row, column = divmod(place, width)
                bias = (along_height[row] @ query[place])[:, None]
                bias = bias + (along_width[column] @ query[place])[None, :]
                scores = scale * (key @ query[place]) + bias.flatten()
                exponents = (scores - scores.max()).exp()
                out[image, place, head] = (exponents / exponents.sum()) @ value
    return out


@pytest.mark.parametrize('dtype, tolerance', [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_pieces_are_the_definition_of_relative_attention(
    dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((2, 6, 3, 2, 4), (3, 3, 4), (2, 2, 4))  # 3 rows of 2
    ]
    expected = by_definition(tensors[0], tensors[1], tensors[2], 0.7)
    gradients = torch.autograd.grad(expected.cos().sum(), tensors)
    monkeypatch.setattr(relative_attention, 'PIECE', 2 * 6)  # one row at a time
    inputs = [tensor.detach().to(dtype).requires_grad_() for tensor in tensors]
    found = relative_attention.relative_attention(*inputs, grid=(3, 2), scale=0.7)
    ours = torch.autograd.grad(found.cos().sum(), inputs)
    for a, b in zip((found, *ours), (expected, *gradients), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=tolerance)


def test_pieces_keep_the_projected_tokens_alone() -> None:
    attention: Any = Attention(12, num_heads=2, use_rel_pos=True, input_size=(6, 6))
    attention.__class__ = EncoderAttention
    kept: dict[int, torch.Size] = {}
    weights = {p.untyped_storage().data_ptr() for p in attention.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.shape
        return tensor

    attention.requires_grad_(False)  # as a sparse method leaves the positions
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = attention(torch.randn(3, 6, 6, 12, requires_grad=True))
    positions = [(6, 6, 6)] * 2  # of this grid
    assert sorted(map(tuple, kept.values())) == [(3, 36, 3, 2, 6), *positions]
    assert out.requires_grad


def test_pieces_in_bf16_are_more_precise_than_the_stock_attention() -> None:
    torch.manual_seed(0)
    attention: Any = Attention(24, num_heads=2, use_rel_pos=True, input_size=(9, 9))
    nn.init.normal_(attention.rel_pos_h)
    tokens = torch.randn(2, 9, 9, 24, requires_grad=True)

    def results(way: str | None, amp: bool = True) -> list[Tensor]:
        attention.__class__ = Attention if way is None else EncoderAttention
        attention.way = way
        with torch.autocast('cpu', torch.bfloat16, enabled=amp):
            out = attention(tokens)
        weights = [tokens, attention.rel_pos_h, attention.qkv.weight]
        return [out.float(), *torch.autograd.grad(out.float().sin().sum(), weights)]

    exact = results(None, amp=False)
    errors = {
        way: [(a - b).norm() / b.norm() for a, b in zip(results(way), exact, strict=True)]
        for way in (None, 'pieces')
    }
    for ours, stock in zip(errors['pieces'], errors[None], strict=True):
        assert ours < stock


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
@pytest.mark.parametrize('way', ['auto', 'pieces', 'fused'])
def test_attention_on_a_gpu_is_that_of_the_cpu(randomise: Callable[[Any], Any], way: str) -> None:
    attention: Any = Attention(24, num_heads=2, use_rel_pos=True, input_size=(9, 9))
    randomise(attention)
    attention.__class__, attention.way = EncoderAttention, way
    for grid in (7, 46):
        tokens = torch.randn(2, grid, grid, 24)
        results = []
        for device in ('cpu', 'cuda'):
            attention.to(device)
            on_device = tokens.to(device, copy=True).requires_grad_()
            out = attention(on_device)
            gradients = torch.autograd.grad(
                out.sin().sum(), [on_device, attention.rel_pos_h, attention.qkv.weight]
            )
            results.append([t.cpu() for t in (out, *gradients)])
        for expected, found in zip(*results, strict=True):
            assert (found - expected).norm() < 1e-4 * expected.norm()


def set_way(encoder: ImageEncoder, way: str) -> None:
    for block in encoder.blocks:
        block.attn.way = way


def test_each_way_computes_where_it_says(
    encoders: Encoders, images: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = encoders
    taken: list[tuple[str, int, int]] = []
    for way in ('fused', 'pieces'):
        inner = getattr(EncoderAttention, way)

        def watched(self: Any, x: Tensor, way: str = way, inner: Any = inner) -> Tensor:
            taken.append((way, *x.shape[1:3]))
            return inner(self, x)

        monkeypatch.setattr(EncoderAttention, way, watched)
    many = images(1, size=16 * 46)  # 46 * 46 = 2116 tokens in the one global block
    expected = {
        'auto': [('pieces', 3, 3), ('pieces', 46, 46), ('pieces', 3, 3)],
        'stock': [],
        'fused': [('fused', 3, 3), ('fused', 46, 46), ('fused', 3, 3)],
    }
    for way, grids in expected.items():
        set_way(ours, way)
        ours(many)
        assert taken == grids
        taken.clear()
    # What is recorded consists of stock operations.
    for way, global_way in (('auto', 'fused'), ('pieces', 'fused'), ('stock', None)):
        set_way(ours, way)
        monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: True)
        ours(many)
        assert taken == ([(global_way, 46, 46)] if global_way else [])
        taken.clear()
    with pytest.raises(ValueError, match='attention must be one of auto, stock, fused, pieces'):
        ImageEncoder(**SIZES, attention='flash')


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
