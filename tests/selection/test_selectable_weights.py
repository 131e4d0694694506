"""Which weights entries can be selected from, and why not from the others."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm

from gps_seg.selection import selectable_weights, unselectable_weights
from tests.toys import ToyNet


def names(model: nn.Module, **options: Any) -> list[str]:
    return [weight.name for weight in selectable_weights(model, **options)]


def test_every_weight_of_a_stock_model_can_be_selected_from() -> None:
    model = ToyNet()
    layers = ('stem', 'grouped', 'depthwise', 'upward', 'downward')
    others = ('attention.out_proj', 'bypassed', 'linear', 'head')
    assert names(model) == [
        *(f'{layer}.weight' for layer in layers),
        'attention.in_proj_weight',
        *(f'{layer}.weight' for layer in others),
    ]
    assert names(model, within=['attention', 'head']) == [
        'attention.in_proj_weight',
        'attention.out_proj.weight',
        'head.weight',
    ]
    assert 'head.weight' not in names(model, without=['head.weight'])
    assert unselectable_weights(model) == {}


def test_a_module_is_not_taken_for_one_whose_name_begins_the_same() -> None:
    model = nn.ModuleDict({'layer1': nn.Linear(2, 2), 'layer10': nn.Linear(2, 2)})
    assert names(model, within=['layer1']) == ['layer1.weight']


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def quantized() -> nn.Module:
    from torch.ao.nn.quantized.dynamic import Linear

    return Linear(3, 4)


def of_type(dtype: torch.dtype) -> nn.Module:
    layer = nn.Linear(3, 4, bias=False)
    layer.weight = nn.Parameter(torch.zeros(4, 3).to(dtype), requires_grad=False)
    return layer


class Packed(torch.Tensor):
    """As the tensors of quantization libraries, which look like weights of a usual type."""


def packed() -> nn.Module:
    layer = nn.Linear(3, 4)
    layer.weight = nn.Parameter(torch.zeros(4, 3).as_subclass(Packed))
    return layer


def parametrized_attention() -> nn.Module:
    layer = nn.MultiheadAttention(4, 2)
    parametrize.register_parametrization(layer, 'in_proj_weight', Doubled())
    return layer


@pytest.mark.parametrize(
    'layer, weight, reason',
    [
        (lambda: parametrizations.weight_norm(nn.Linear(3, 4)), 'weight', 'is parametrized'),
        (lambda: parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)), 'weight', 'is parametrized'),
        (parametrized_attention, 'in_proj_weight', 'is parametrized'),
        (lambda: spectral_norm(nn.Linear(3, 4)), 'weight', 'is no parameter'),
        (lambda: prune.identity(nn.Linear(3, 4), 'weight'), 'weight', 'is no parameter'),
        (quantized, 'weight', 'its layer is quantized'),
        (lambda: of_type(torch.int8), 'weight', 'its type is torch.int8'),
        (lambda: of_type(torch.complex64), 'weight', 'its type is torch.complex64'),
        (lambda: of_type(torch.float8_e4m3fn), 'weight', 'its type is torch.float8_e4m3fn'),
        (packed, 'weight', 'it is a Packed, no plain parameter'),
    ],
    ids=[
        'weight norm',
        'spectral norm',
        'parametrized attention',
        'old spectral norm',
        'pruned',
        'quantized',
        'int8',
        'complex',
        'float8',
        'tensor subclass',
    ],
)
@pytest.mark.filterwarnings('ignore:torch.quantize_per_tensor.*deprecated:UserWarning')
def test_one_weight_that_is_not_plain_is_left_out_and_named(
    layer: Any, weight: str, reason: str
) -> None:
    model = nn.ModuleDict({'stock': nn.Linear(3, 4), 'odd': layer()})
    refused = unselectable_weights(model)
    assert list(refused) == [f'odd.{weight}']
    assert reason in refused[f'odd.{weight}']
    selected = names(model)
    assert 'stock.weight' in selected
    assert f'odd.{weight}' not in selected


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_low_and_high_precision_can_be_selected_from(dtype: torch.dtype) -> None:
    assert names(of_type(dtype)) == ['weight']


def test_a_weight_that_two_layers_share_is_left_out_under_both_names() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert names(model) == ['2.weight']
    assert list(unselectable_weights(model)) == ['0.weight', '1.weight']


def test_a_layer_that_two_paths_reach_is_left_out_under_both_names() -> None:
    layer = nn.Linear(4, 4)
    model = nn.ModuleDict({'first': layer, 'second': nn.Sequential(layer, nn.Linear(4, 4))})
    assert names(model) == ['second.1.weight']
    refused = unselectable_weights(model)
    assert list(refused) == ['first.weight', 'second.0.weight']
    assert 'several names' in refused['first.weight']


def test_an_embedding_tied_to_the_head_keeps_the_head_from_being_selected_from() -> None:
    model = nn.ModuleDict({'tokens': nn.Embedding(5, 4), 'head': nn.Linear(4, 5)})
    model['head'].weight = model['tokens'].weight
    assert names(model) == []


def test_a_lazy_layer_asks_for_a_first_batch() -> None:
    model = nn.ModuleDict({'head': nn.LazyLinear(3)})
    for look in (selectable_weights, unselectable_weights):
        with pytest.raises(ValueError, match=r'head\.weight is not initialised yet .* run the'):
            look(model)
    model['head'](torch.ones(2, 4))
    assert names(model) == ['head.weight']
