"""Activations recorded where functions are called, against autograd and attention by hand."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gps_seg.selection import Scores, WeightActivation, score, selectable_weights


def scores_of(model: nn.Module, *inputs: Tensor, **options: Any) -> Scores:
    criterion = WeightActivation(selectable_weights(model), lambda _: model(*inputs, **options))
    return score(model, criterion, [[0]])


@pytest.mark.parametrize(
    'layer',
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
        nn.Conv2d(4, 8, (3, 2), stride=(1, 2), padding=(2, 1), groups=4, dilation=(2, 1)),
        nn.Conv2d(4, 8, (4, 3), padding='same', dilation=(1, 2)),
        nn.Conv2d(4, 2, 3, padding='valid'),
        nn.Conv2d(4, 2, 3, padding=1, padding_mode='reflect'),
        nn.Conv2d(4, 6, 4, stride=4),
        nn.ConvTranspose2d(4, 6, 2, stride=2),
        nn.ConvTranspose2d(4, 8, 3, stride=2, padding=1, output_padding=1, groups=2),
        nn.ConvTranspose2d(4, 8, (3, 2), stride=(2, 1), padding=(2, 0), dilation=2, groups=4),
        nn.ConvTranspose2d(4, 2, 2, stride=5, padding=2),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_a_convolution_sees_its_inputs_where_its_kernel_meets_them(layer: Any) -> None:
    layer.double()
    images = torch.randn(3, 4, 9, 8, generator=torch.Generator().manual_seed(0)).double()
    (weight,) = selectable_weights(layer)
    # The output is linear in the weight, with the inputs as its coefficients.
    output = layer(images.abs())
    (sums,) = torch.autograd.grad(output.sum(), layer.weight)
    positions = images[:, 0] if 'Transpose' in type(layer).__name__ else output[:, 0]
    expected = weight.matrix(layer.weight.detach().abs() * sums / positions.numel())
    assert torch.allclose(scores_of(layer, images)['weight'], expected, rtol=1e-6)


def attention_by_hand(
    layer: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor
) -> Any:
    """What the output projection multiplies, (B, L, E)."""
    whole = layer._parameters['in_proj_weight']
    parts = ('q_proj_weight', 'k_proj_weight', 'v_proj_weight')
    weights: Any = [layer._parameters[name] for name in parts] if whole is None else whole.chunk(3)
    biases = layer.in_proj_bias.chunk(3)
    q, k, v = (
        F.linear(x, w, b).unflatten(-1, (layer.num_heads, -1)).transpose(1, 2)
        for x, w, b in zip((query, key, value), weights, biases, strict=True)
    )
    shares = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return (shares @ v).transpose(1, 2).flatten(2)


@pytest.mark.parametrize('crossed', [False, True])
@pytest.mark.parametrize('need_weights', [False, True])
@pytest.mark.parametrize('sizes', [{}, {'kdim': 5, 'vdim': 3}], ids=['one size', 'three sizes'])
def test_attention_sees_queries_keys_values_and_what_it_projects(
    crossed: bool, need_weights: bool, sizes: dict[str, int]
) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True, **sizes).double().eval()
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(2, length, width, generator=generator).double()
        for length, width in ((4, 8), (5, sizes.get('kdim', 8)), (5, sizes.get('vdim', 8)))
    )
    if not crossed and not sizes:
        key = value = query
    scores = scores_of(layer, query, key, value, need_weights=need_weights)
    means = [x.abs().mean((0, 1)) for x in (query, key, value)]
    if sizes:
        for role, mean in zip('qkv', means, strict=True):
            weight = layer.get_parameter(f'{role}_proj_weight').detach().abs()
            assert torch.allclose(scores[f'{role}_proj_weight'], weight * mean)
    else:
        blocks = layer.in_proj_weight.detach().abs().chunk(3)
        expected = torch.cat([block * mean for block, mean in zip(blocks, means, strict=True)])
        assert torch.allclose(scores['in_proj_weight'], expected)
    projected = attention_by_hand(layer, query, key, value).detach().abs().mean((0, 1))
    weight = layer.out_proj.weight.detach().abs()
    assert torch.allclose(scores['out_proj.weight'], weight * projected)


def test_recording_does_not_change_what_attention_returns() -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True).double().eval()
    tokens = torch.randn(2, 4, 8).double()
    seen = []
    criterion = WeightActivation(
        selectable_weights(layer), lambda _: seen.append(layer(tokens, tokens, tokens))
    )
    score(layer, criterion, [[0]])
    (output, shares), (expected, expected_shares) = seen[0], layer(tokens, tokens, tokens)
    assert torch.allclose(output, expected)
    assert torch.allclose(shares, expected_shares)


def test_no_fast_path_hides_the_inputs_of_a_transformer() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    scores = scores_of(layers, torch.randn(2, 3, 8))
    assert len(scores) == 8
    assert all(bool(matrix.any()) for matrix in scores.values())


class Bypassing(nn.Module):
    def __init__(self, part: slice) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 6, bias=False)
        self.attention = nn.MultiheadAttention(3, 1)
        self.part = part

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return F.linear(x, self.layer.weight), F.linear(
            2 * x, self.attention.in_proj_weight[self.part]
        )


def test_a_weight_that_is_read_past_its_layer_is_known_also_in_part() -> None:
    model = Bypassing(slice(3, 6))
    x = torch.randn(5, 3)
    scores = scores_of(model, x)
    size = x.abs().mean(0)
    assert torch.allclose(scores['layer.weight'], model.layer.weight.detach().abs() * size)
    in_proj = model.attention.in_proj_weight.detach().abs()
    expected = torch.zeros(9, 3)
    expected[3:6] = in_proj[3:6] * 2 * size  # the keys alone
    assert torch.allclose(scores['attention.in_proj_weight'], expected)
    assert not scores['attention.out_proj.weight'].any()


def test_a_part_that_crosses_queries_and_keys_is_refused() -> None:
    with pytest.raises(ValueError, match=r'part of attention\.in_proj_weight, of shape \(3, 3\)'):
        scores_of(Bypassing(slice(1, 4)), torch.randn(5, 3))


def test_a_layer_that_runs_twice_counts_all_of_its_positions() -> None:
    layer = nn.Linear(3, 3, bias=False).double()
    model = nn.Sequential(layer, layer)
    x = torch.randn(5, 3).double()
    scores = score(layer, WeightActivation(selectable_weights(layer), model), [[x]])
    size = torch.cat([x, layer(x).detach()]).abs().mean(0)
    assert torch.allclose(scores['weight'], layer.weight.detach().abs() * size)
