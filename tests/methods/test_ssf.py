"""What scaling and shifting promises beyond the contract."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

import gps_seg
from gps_seg.delta.added import attach_added, build_added
from gps_seg.prediction.checkpoints import merge_added
from tests.families import FAMILIES
from tests.toys import ToyNet


def numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def perturbed(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return module.double().eval()


@pytest.mark.parametrize(
    'layer, inputs, channels',
    [
        (nn.Linear(6, 9), torch.randn(2, 5, 6), -1),
        (nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=2), torch.randn(2, 6, 5, 5), -3),
        (nn.LayerNorm(6), torch.randn(2, 5, 6), -1),
        (nn.BatchNorm2d(6), torch.randn(2, 6, 5, 5), -3),
        (nn.GroupNorm(2, 6), torch.randn(2, 6, 5, 5), -3),
        (LayerNorm2d(6), torch.randn(2, 6, 5, 5), -3),
    ],
    ids=['linear', 'grouped', 'layer norm', 'batch norm', 'group norm', "sam's norm"],
)
def test_a_layer_is_scaled_and_shifted_as_in_numpy_and_merges_to_the_same(
    layer: nn.Module, inputs: Tensor, channels: int
) -> None:
    layer, inputs = perturbed(layer), inputs.double()
    before = numbers(layer(inputs))
    holder = nn.Sequential(layer)
    spec = {'type': 'ssf', 'std': 0.5, 'seed': 3}
    attach_added(holder, {'0': spec})
    shape = (-1, *(1,) * (-channels - 1))
    scale, shift = (numbers(layer.get_parameter(f'ssf.{n}')) for n in ('scale', 'shift'))
    assert np.std(scale) > 0.1 and np.std(shift) > 0.1
    expected = before * scale.reshape(shape) + shift.reshape(shape)
    np.testing.assert_allclose(numbers(holder(inputs)), expected, rtol=1e-12, atol=1e-12)
    module: Any = build_added(spec)
    for _ in range(2):  # a second merge changes nothing
        module.merge(layer)
        np.testing.assert_allclose(numbers(holder(inputs)), expected, rtol=1e-12, atol=1e-12)
    module.detach(layer)
    np.testing.assert_allclose(numbers(holder(inputs)), expected, rtol=1e-12, atol=1e-12)


def test_queries_keys_and_values_of_stock_attention_are_scaled_and_shifted() -> None:
    stock = nn.MultiheadAttention(8, 2, batch_first=True).double()
    scaled = nn.MultiheadAttention(8, 2, batch_first=True).double()
    scaled.load_state_dict(stock.state_dict())
    attach_added(nn.Sequential(scaled), {'0': {'type': 'ssf', 'std': 0.5}})
    with torch.no_grad():
        scale = scaled.get_parameter('ssf.scale')
        stock.in_proj_weight.mul_(scale[:, None])
        stock.in_proj_bias.mul_(scale).add_(scaled.get_parameter('ssf.shift'))
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(scaled(x, x, x)[0], stock(x, x, x)[0])


def test_what_comes_before_the_neck_of_sam_is_scaled_and_shifted() -> None:
    family = FAMILIES['sam']
    torch.manual_seed(0)
    model: Any = family.build()
    gps_seg.tune(model, method='ssf', std=0.3)
    encoder = model.image_encoder.eval()
    tokens: list[Tensor] = []
    encoder.blocks[-1].register_forward_hook(lambda block, args, out: tokens.append(out))
    result = encoder(family.images)
    by_hand = tokens[0] * encoder.ssf.scale + encoder.ssf.shift
    torch.testing.assert_close(encoder.neck(by_hand.permute(0, 3, 1, 2)), result)
    assert not any('neck' in name for name, _ in model.named_parameters() if '.ssf.' in name)


def test_merging_for_an_export_in_another_order_gives_the_same_model() -> None:
    family = FAMILIES['sam']
    torch.manual_seed(0)
    model: Any = family.build()
    stock = list(model.state_dict())
    tuning = gps_seg.tune(model, method='ssf', std=0.1)
    assert list(tuning.plan.added)[-1] == 'image_encoder'
    with torch.no_grad():
        expected = model.eval()(family.images)
        tuning._applied.sparse.restore()
        merge_added(model)  # the encoder comes first here
        merged = model(family.images)
    assert list(model.state_dict()) == stock
    assert (merged - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_scale_of_zero_before_the_neck_cannot_be_merged() -> None:
    torch.manual_seed(0)
    model: Any = FAMILIES['sam'].build()
    tuning = gps_seg.tune(model, method='ssf')
    with torch.no_grad():
        model.image_encoder.ssf.scale[0] = 0
    with pytest.raises(ValueError, match=r'a scale before the neck is zero.*delta'):
        tuning.merge()


def test_a_std_of_zero_starts_from_the_base() -> None:
    torch.manual_seed(0)
    model = FAMILIES['vit'].build().eval()
    images = FAMILIES['vit'].images
    expected = model(images)
    gps_seg.tune(model, method='ssf', std=0.0)
    torch.testing.assert_close(model(images), expected)


def test_statistics_of_a_scaled_batch_norm_stay_those_of_the_base() -> None:
    model = ToyNet()
    gps_seg.tune(model, method='ssf')
    before = model.get_buffer('norm.running_mean').clone()
    model.train()(torch.randn(3, 3, 16, 16))
    assert torch.equal(model.get_buffer('norm.running_mean'), before)
    assert 'norm.ssf.scale' in model.state_dict()
    assert 'upward.ssf.scale' not in model.state_dict()  # a transposed convolution
    assert 'grouped.ssf.scale' not in model.state_dict()  # without a bias


def test_no_gradient_of_the_size_of_a_weight_is_kept() -> None:
    layer = nn.Linear(64, 64)
    attach_added(nn.Sequential(layer), {'0': {'type': 'ssf'}})
    for name in ('weight', 'bias'):
        layer._parameters[name].requires_grad_(False)  # type: ignore[union-attr]
    shapes: list[torch.Size] = []

    def pack(tensor: Tensor) -> Tensor:
        shapes.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(torch.randn(3, 64))
    assert (64, 64) not in shapes


@pytest.mark.parametrize(
    'settings, cause',
    [
        ({'targets': ['nothing*']}, r"fits \['nothing\*'\]; such are patch_embed.proj"),
        ({'targets': '*.qkv'}, 'targets must be a list'),
        ({'std': -1.0}, r'std must be in \[0, 1\), got -1.0'),
        ({'whole': 'heads'}, 'whole must be a list'),
    ],
)
def test_settings_that_fit_nothing_are_refused(settings: dict, cause: str) -> None:
    model = timm.create_model('vit_tiny_patch16_224', img_size=16, depth=1, num_classes=3)
    before = list(model.state_dict())
    with pytest.raises(ValueError, match=cause):
        gps_seg.tune(model, method='ssf', **settings)
    assert list(model.state_dict()) == before


def test_a_layer_without_a_bias_cannot_be_a_host() -> None:
    with pytest.raises(ValueError, match=r'Linear is no .* with a weight and a bias'):
        attach_added(nn.Sequential(nn.Linear(3, 3, bias=False)), {'0': {'type': 'ssf'}})
    with pytest.raises(ValueError, match='no image encoder of segment_anything'):
        attach_added(nn.Sequential(nn.Linear(3, 3)), {'0': {'type': 'ssf_neck'}})
