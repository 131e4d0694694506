"""What prompts promise beyond the contract."""

import copy
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Block
from torch import Tensor, nn

import gps_seg
from gps_seg.delta.added import attach_added
from gps_seg.methods import build_method, describe
from tests.families import FAMILIES

NUM = 3


def vit(**options: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model(
        'vit_tiny_patch16_224', img_size=16, patch_size=8, depth=3, num_classes=3, **options
    )


def swin() -> Any:
    # The second block of the first stage shifts its windows and masks what they join.
    torch.manual_seed(0)
    return timm.create_model(
        'swin_tiny_patch4_window7_224',
        img_size=32,
        window_size=4,
        depths=(2, 1, 1, 1),
        embed_dim=12,
        num_classes=4,
    )


def prompts_of(model: nn.Module) -> list[Tensor]:
    return [p for name, p in model.named_parameters() if name.endswith('vpt_prompts')]


@pytest.mark.parametrize('pool', ['token', 'avg'])
@pytest.mark.parametrize('method', ['vpt_deep', 'vpt_shallow'])
def test_prompts_in_a_vit_equal_tokens_put_in_by_hand(method: str, pool: str) -> None:
    stock, model = vit(global_pool=pool).eval(), vit(global_pool=pool).eval()
    gps_seg.tune(model, method=method, num=NUM)
    prompts = prompts_of(model)
    assert len(prompts) == (3 if method == 'vpt_deep' else 1)
    images = torch.randn(2, 3, 16, 16)
    x = stock._pos_embed(stock.patch_embed(images))
    num = x.shape[1]
    for number, block in enumerate(stock.blocks):
        if number < len(prompts):
            # Between the class token and the patches, where nobody's result depends on the order.
            here = prompts[number].expand(2, -1, -1)
            x = torch.cat([x[:, :1], here, x[:, -(num - 1) :]], dim=1)
        x = block(x)
    x = torch.cat([x[:, :1], x[:, -(num - 1) :]], dim=1)
    torch.testing.assert_close(model(images), stock.forward_head(stock.norm(x)))


def attended(block: Any, x: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """Swin's attention over maps (B, H, W, C) and prompts (B, P, C), window by window, by hand."""
    attn, size, shift = block.attn, block.window_size[0], block.shift_size[0]
    batch, height, width, channels = x.shape
    rolled = torch.roll(x, (-shift, -shift), (1, 2))
    out, heard, number = torch.zeros_like(x), [], 0
    bias = attn._get_rel_pos_bias()[0]
    for top in range(0, height, size):
        for left in range(0, width, size):
            window = rolled[:, top : top + size, left : left + size].reshape(batch, -1, channels)
            tokens = torch.cat([window, prompts], dim=1)
            q, k, v = (
                part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
                for part in attn.qkv(tokens).chunk(3, dim=-1)
            )
            scores = (q @ k.transpose(-2, -1)) * attn.scale
            num = window.shape[1]
            scores[..., :num, :num] += bias
            if block.attn_mask is not None:
                scores[..., :num, :num] += block.attn_mask[number]
            result = attn.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
            out[:, top : top + size, left : left + size] = result[:, :num].reshape(
                batch, size, size, channels
            )
            heard.append(result[:, num:])
            number += 1
    return torch.roll(out, (shift, shift), (1, 2)), torch.stack(heard).mean(0)


@pytest.mark.parametrize('method', ['vpt_deep', 'vpt_shallow'])
def test_prompts_in_a_swin_equal_windows_computed_one_by_one(method: str) -> None:
    stock, model = swin().eval(), swin().eval()
    gps_seg.tune(model, method=method, num=NUM)
    own, images = prompts_of(model), FAMILIES['swin'].images
    x, prompts, number = stock.patch_embed(images), own[0].expand(4, -1, -1), 0
    with torch.no_grad():
        for stage in stock.layers:
            if method == 'vpt_shallow' and not isinstance(stage.downsample, nn.Identity):
                merging = stage.downsample
                prompts = merging.reduction(merging.norm(prompts.repeat(1, 1, 4)))
            x = stage.downsample(x)
            for block in stage.blocks:
                if method == 'vpt_deep':
                    prompts = own[number].expand(4, -1, -1)
                number += 1
                change, heard = attended(block, block.norm1(x), block.norm1(prompts))
                x = x + change
                x = x + block.mlp(block.norm2(x))
                prompts = prompts + heard
                prompts = prompts + block.mlp(block.norm2(prompts))
        expected = stock.forward_head(stock.norm(x))
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(stock(images), expected, atol=1e-3)
    assert any(any(block.shift_size) for stage in stock.layers for block in stage.blocks)


def biased(attn: Any, q: Tensor, height: int, width: int) -> Tensor:
    """The bias of every query (B, heads, H * W, d) at every key, position by position."""
    bias = torch.zeros(*q.shape[:2], height * width, height * width)
    for i in range(height * width):
        for j in range(height * width):
            row = attn.rel_pos_h[i // width - j // width + height - 1]
            column = attn.rel_pos_w[i % width - j % width + width - 1]
            bias[:, :, i, j] = q[:, :, i] @ (row + column)
    return bias


@pytest.mark.parametrize('window', [0, 4])
def test_prompts_in_a_block_of_sam_equal_windows_computed_one_by_one(window: int) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {'use_rel_pos': True, 'window_size': window, 'input_size': (8, 8)}
    block: Any = Block(16, 2, **options).eval()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    stock = copy.deepcopy(block)
    attach_added(nn.Sequential(block), {'0': {'type': 'vpt', 'num': NUM, 'size': 16}})
    x, attn, size = torch.randn(2, 8, 8, 16), stock.attn, window or 8
    prompts = stock.norm1(block.vpt_prompts).expand(2, -1, -1)
    inside, out = stock.norm1(x), torch.zeros_like(x)
    with torch.no_grad():
        for top in range(0, 8, size):
            for left in range(0, 8, size):
                area = inside[:, top : top + size, left : left + size].reshape(2, -1, 16)
                q, k, v = (
                    part.unflatten(-1, (2, -1)).transpose(1, 2)
                    for part in attn.qkv(torch.cat([area, prompts], dim=1)).chunk(3, dim=-1)
                )
                num = size * size
                scores = attn.scale * q[:, :, :num] @ k.transpose(-2, -1)
                scores[..., :num] += biased(attn, q[:, :, :num], size, size)
                read = (scores.softmax(-1) @ v).transpose(1, 2).reshape(2, size, size, 16)
                out[:, top : top + size, left : left + size] = attn.proj(read)
        expected = x + out
        expected = expected + stock.mlp(stock.norm2(expected))
        torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(stock(x), expected, atol=1e-2)


def test_no_replaced_function_stays_after_a_forward_pass() -> None:
    model = swin()
    gps_seg.tune(model, method='vpt_deep', num=NUM)
    before = [dict(module.__dict__).keys() for module in model.modules()]
    model(FAMILIES['swin'].images)
    assert [dict(module.__dict__).keys() for module in model.modules()] == before


@pytest.mark.parametrize('family', ['vit', 'swin'])
@pytest.mark.parametrize('method', ['vpt_deep', 'vpt_shallow'])
def test_every_prompt_gets_a_gradient(method: str, family: str) -> None:
    model = FAMILIES[family].build()
    gps_seg.tune(model, method=method, num=NUM)
    F.cross_entropy(model(FAMILIES[family].images), torch.arange(4)).backward()
    assert all(p.grad is not None and bool(p.grad.any(1).all()) for p in prompts_of(model))


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = swin()
        model.set_grad_checkpointing(checkpointing)
        gps_seg.tune(model, method='vpt_deep', num=NUM)
        model.train()
        for module in model.modules():
            if hasattr(module, 'drop_prob'):
                module.drop_prob = 0.0
        F.cross_entropy(model(FAMILIES['swin'].images), torch.arange(4)).backward()
        gradients.append([p.grad.clone() for p in prompts_of(model) if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) == 5
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    'family, why',
    [
        ('convnext', 'ConvNeXtBlock. cannot take prompts: it has no attention'),
        ('segformer', 'made for a whole grid of positions'),
        ('swin v2, which reads its qkv weight itself', 'made for a whole grid of positions'),
        ('toy', 'the model has no list of such'),
    ],
)
@pytest.mark.parametrize('method', ['vpt_deep', 'vpt_shallow'])
def test_models_without_a_place_for_prompts_are_refused(method: str, family: str, why: str) -> None:
    model = FAMILIES[family].build()
    with pytest.raises(ValueError, match=f'{why}.*choose another method'):
        build_method({'type': method}).plan(model, describe(model), None)


class Listed(nn.Module):
    """A ViT that reads the outputs of its blocks itself."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(vit().blocks)
        self.head = nn.Linear(192, 3)

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for block in self.blocks:
            x = block(x)
            total = total + x
        return self.head(total.mean(1))


def test_shallow_prompts_are_refused_where_inner_outputs_may_be_read() -> None:
    with pytest.raises(ValueError, match=r'outputs of blocks in the middle.*use vpt_deep'):
        gps_seg.tune(Listed(), method='vpt_shallow', head=['head'])
    with pytest.raises(ValueError, match=r'outputs of blocks in the middle.*use vpt_deep'):
        gps_seg.tune(FAMILIES['sam'].build(), method='vpt_shallow')
    model = Listed()
    gps_seg.tune(model, method='vpt_deep', num=NUM, head=['head'])
    assert model(torch.randn(2, 5, 192)).shape == (2, 3)


@pytest.mark.parametrize('num', [0, -1, 2.5, True])
def test_a_number_of_prompts_below_one_is_refused(num: Any) -> None:
    with pytest.raises(ValueError, match='num must be a number of prompts, at least 1'):
        build_method({'type': 'vpt_deep', 'num': num})


def test_shallow_prompts_need_the_blocks_in_their_order() -> None:
    model = swin()
    gps_seg.tune(model, method='vpt_shallow', num=NUM)
    with pytest.raises(RuntimeError, match='got no prompts from the module before it'):
        model.layers[1].blocks[0](torch.randn(1, 4, 4, 24))
