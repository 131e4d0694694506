"""What methods that add modules promise beyond the contract."""

import copy
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import gps_seg
from gps_seg.delta.added import attach_added, detach_added
from gps_seg.methods import Plan, build_method, describe
from gps_seg.methods.lora import LowRankChange
from tests.toys import ToyNet


def vit(dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    return timm.create_model(
        'vit_tiny_patch16_224', img_size=16, patch_size=8, depth=2, num_classes=3
    ).to(dtype)


@pytest.mark.parametrize(
    'layer, inputs, rows',
    [
        (nn.Linear(6, 9), torch.randn(2, 5, 6), ((0, 3), (6, 9))),
        (nn.Linear(6, 4), torch.randn(2, 6), ((0, 4),)),
        (nn.Conv2d(6, 4, 1), torch.randn(2, 6, 5, 5), ((0, 4),)),
        (nn.Conv2d(6, 4, 3, stride=2, padding=1), torch.randn(2, 6, 5, 5), ((1, 3),)),
    ],
    ids=['slices', 'linear', '1x1', '3x3'],
)
def test_a_low_rank_change_equals_the_layer_with_the_changed_weight(
    layer: nn.Module, inputs: torch.Tensor, rows: Any
) -> None:
    layer, inputs = layer.double(), inputs.double()
    holder = nn.Sequential(layer)
    spec = {'type': 'lora', 'rank': 2, 'scale': 1.5, 'rows': rows, 'seed': 4}
    weight = layer.get_parameter('weight').detach().clone()
    expected_start = layer(inputs)
    attach_added(holder, {'0': spec})
    torch.testing.assert_close(holder(inputs), expected_start, rtol=0, atol=0)
    down, up = (layer.get_parameter(f'lora_{name}') for name in ('down', 'up'))
    with torch.no_grad():
        up.normal_()
    # By hand: the change of each group of rows is the product of its own two matrices.
    change, place = torch.zeros(len(weight), weight[0].numel(), dtype=torch.float64), 0
    for group, (start, stop) in enumerate(rows):
        up_part = up.detach()[place : place + stop - start]
        change[start:stop] = 1.5 * up_part @ down.detach()[2 * group : 2 * group + 2]
        place += stop - start
    stock = copy.deepcopy(layer)
    LowRankChange(2, 1.5, rows, 4).detach(stock)
    with torch.no_grad():
        stock.get_parameter('weight').copy_(weight + change.view_as(weight))
    torch.testing.assert_close(holder(inputs), stock(inputs), rtol=1e-12, atol=1e-12)
    # Whoever reads the weight past the layer's forward gets the changed one.
    torch.testing.assert_close(layer.weight, stock.weight, rtol=1e-12, atol=1e-12)
    detach_added(holder, {'0': spec})
    torch.testing.assert_close(holder(inputs), expected_start, rtol=0, atol=0)


def test_lora_reaches_attention_whose_projection_nobody_calls() -> None:
    model = ToyNet()
    tuning = gps_seg.tune(model, method='lora', rank=2, targets=['attention', 'attention.out_proj'])
    assert set(tuning.plan.added) == {'attention', 'attention.out_proj'}
    F.cross_entropy(model(torch.randn(3, 3, 16, 16)), torch.arange(3)).backward()
    gradients = {n: p.grad for n, p in tuning.named_parameters().items() if 'lora_up' in n}
    assert len(gradients) == 2
    assert all(g is not None and bool(g.any()) for g in gradients.values())


@pytest.mark.parametrize('method', ['lora', 'adapter', 'ssf', 'vpt_deep', 'vpt_shallow'])
def test_added_modules_train_in_fp32_over_a_bf16_base(method: str) -> None:
    model = vit(torch.bfloat16)
    tuning = gps_seg.tune(model, method=method)
    added = {n: p for n, p in tuning.named_parameters().items() if 'head' not in n}
    assert {p.dtype for p in added.values()} == {torch.float32}
    out = model(torch.randn(2, 3, 16, 16, dtype=torch.bfloat16))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in added.values())


def test_an_optimizer_built_before_gets_added_tensors_in_the_group_of_their_layer() -> None:
    model = vit()
    first = [p for n, p in model.named_parameters() if n.startswith('blocks.0')]
    rest = [p for n, p in model.named_parameters() if not n.startswith('blocks.0')]
    groups: list[dict[str, Any]] = [{'params': first, 'lr': 0.5}, {'params': rest}]
    optimizer = torch.optim.Adam(groups, lr=0.1)
    tuning = gps_seg.tune(model, method='lora', rank=2)
    tuning.refill(optimizer)
    by_id = {id(p): n for n, p in tuning.named_parameters().items()}
    held = [{by_id[id(p)] for p in group['params']} for group in optimizer.param_groups]
    assert held[0] == {'blocks.0.attn.qkv.lora_down', 'blocks.0.attn.qkv.lora_up'}
    assert held[1] == {
        'blocks.1.attn.qkv.lora_down',
        'blocks.1.attn.qkv.lora_up',
        'head.weight',
        'head.bias',
    }


@pytest.mark.parametrize(
    'method, settings, cause',
    [
        ('lora', {'targets': ['nothing*']}, 'no layer of the backbone fits .*targets='),
        ('lora', {'rank': 0}, 'rank must be at least 1, got 0'),
        ('lora', {'slices': 'xy'}, "slices must be letters of 'qkv'"),
        ('lora', {'targets': '*.qkv'}, 'targets must be a list'),
        ('adapter', {'targets': ['nothing*']}, 'no module of the backbone fits'),
        ('adapter', {'targets': ['norm']}, 'norm ends in LayerNorm'),
        ('adapter', {'width': 0}, 'width must be at least 1, got 0'),
        ('adapter', {'placement': 'here'}, "one of pfeiffer, houlsby, got 'here'"),
        ('adapter', {'placement': 'houlsby', 'targets': ['x']}, 'give one of the two'),
    ],
)
def test_settings_that_fit_nothing_are_refused(method: str, settings: dict, cause: str) -> None:
    model = vit()
    before = list(model.state_dict())
    with pytest.raises(ValueError, match=cause):
        gps_seg.tune(model, method=method, **settings)
    assert list(model.state_dict()) == before
    assert gps_seg.tune(model, method='linear')  # the model is not held by the failed one


def test_a_plan_that_does_not_fit_leaves_the_model_as_it_was() -> None:
    model = vit()
    parts, method = describe(model), build_method({'type': 'lora', 'rank': 2})
    plan = method.plan(model, parts, None)
    broken = Plan(
        plan.selection, {**plan.added, 'blocks.7.attn.qkv': plan.added['blocks.0.attn.qkv']}
    )
    classes = [type(m) for m in model.modules()]
    with pytest.raises(ValueError, match=r'no module .blocks\.7'):
        method.apply(model, parts, broken)
    assert [type(m) for m in model.modules()] == classes
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize('placement', ['pfeiffer', 'houlsby'])
def test_adapters_change_what_mlps_and_attentions_add_to_the_residual(placement: str) -> None:
    model, stock = vit().eval(), vit().eval()
    tuning = gps_seg.tune(model, method='adapter', width=4, placement=placement)
    ends = ('mlp', 'attn') if placement == 'houlsby' else ('mlp',)
    assert {path.rpartition('.')[2] for path in tuning.plan.added} == set(ends)
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(model(images), stock(images))  # starts from the base
    adapters: dict[str, Any] = {p: model.get_submodule(f'{p}.adapter') for p in tuning.plan.added}
    with torch.no_grad():
        for adapter in adapters.values():
            adapter.up.weight.normal_()
            adapter.up.bias.normal_()

    def adapted(path: str, x: torch.Tensor) -> torch.Tensor:
        if path not in adapters:
            return x
        down, up = adapters[path].down, adapters[path].up
        inner = F.gelu(x @ down.weight.T + down.bias)
        return x + inner @ up.weight.T + up.bias

    x = stock._pos_embed(stock.patch_embed(images))
    for number, block in enumerate(stock.blocks):
        x = x + adapted(f'blocks.{number}.attn', block.attn(block.norm1(x)))
        x = x + adapted(f'blocks.{number}.mlp', block.mlp(block.norm2(x)))
    torch.testing.assert_close(model(images), stock.forward_head(stock.norm(x)))


def test_every_parameter_of_an_adapter_learns() -> None:
    model = vit()
    tuning = gps_seg.tune(model, method='adapter', width=4)
    start = {n: p.detach().clone() for n, p in tuning.named_parameters().items()}
    optimizer = torch.optim.SGD(tuning.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(3, 3, 16, 16)), torch.arange(3)).backward()
        optimizer.step()
    assert [n for n, p in tuning.named_parameters().items() if torch.equal(p, start[n])] == []


def test_a_placement_behind_attention_needs_attention() -> None:
    model = timm.create_model('convnext_atto', depths=(1, 1, 1, 1), dims=(8, 8, 8, 8))
    with pytest.raises(ValueError, match=r'no module of the backbone fits .*attn'):
        gps_seg.tune(model, method='adapter', placement='houlsby')
