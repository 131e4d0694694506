"""Every engine gives the gathered dense gradient, for every kind of layer and of selection."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gps_seg.selection import Entries, Selection, selectable_weights
from gps_seg.sparse import make_sparse
from gps_seg.sparse.engine import ENGINES, BlockIndex, cheapest_engine
from gps_seg.sparse.forwards import stored_index
from gps_seg.sparse.sampled_product import sampled_product

Case = tuple[nn.Module, tuple[Tensor, ...], dict[str, Any]]


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def linear(draw: Callable) -> Case:
    leading = draw(st.lists(st.integers(0, 4), max_size=3))
    inputs = draw(st.integers(1, 9))
    layer = nn.Linear(inputs, draw(st.integers(1, 7)), bias=draw(st.booleans()))
    return layer, (randn(*leading, inputs),), {}


def convolution(draw: Callable) -> Case:
    groups = draw(st.sampled_from([1, 1, 2]))
    channels, neurons = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    padding = draw(st.sampled_from([0, 0, 1, 'valid']))
    layer = nn.Conv2d(
        channels,
        neurons,
        (kernel, draw(st.integers(1, 3))),
        stride=(stride, draw(st.integers(1, 2))),
        padding=padding,
        dilation=draw(st.sampled_from([1, 1, 2])),
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(['zeros', 'zeros', 'circular'])),
    )
    return layer, (randn(draw(st.integers(1, 3)), channels, 7, 8),), {}


def depthwise(draw: Callable) -> Case:
    channels = draw(st.integers(1, 4))
    layer = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
    return layer, (randn(2, channels, 5, 4),), {}


def line(draw: Callable) -> Case:
    layer = nn.Conv1d(3, draw(st.integers(1, 4)), 2, stride=draw(st.integers(1, 2)))
    return layer, (randn(2, 3, 6),), {}


def transposed(draw: Callable) -> Case:
    groups = draw(st.integers(1, 2))
    layer = nn.ConvTranspose2d(
        2 * groups,
        3 * groups,
        draw(st.integers(2, 3)),
        stride=2,
        padding=draw(st.integers(0, 1)),
        output_padding=draw(st.integers(0, 1)),
        groups=groups,
        bias=draw(st.booleans()),
    )
    options = {'output_size': [7, 9]} if layer.kernel_size == (3, 3) else {}
    options = options if layer.padding == (0, 0) and draw(st.booleans()) else {}
    return layer, (randn(2, 2 * groups, 3, 4),), options


def attention(draw: Callable) -> Case:
    heads, batch_first = draw(st.sampled_from([1, 2])), draw(st.booleans())
    layer = nn.MultiheadAttention(
        4, heads, bias=draw(st.booleans()), batch_first=batch_first, dropout=0.0
    )
    batch, num = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    query, others = randn(batch, num, 4), randn(batch, num + 1, 4)
    options: dict[str, Any] = {'need_weights': draw(st.booleans())}
    if draw(st.booleans()):
        options['average_attn_weights'] = draw(st.booleans())
    sort = draw(st.sampled_from(['self', 'cross', 'all different']))
    inputs = {
        'self': (query, query, query),
        'cross': (query, others, others),
        'all different': (query, others, randn(batch, num + 1, 4)),
    }[sort]
    seen = inputs[1].shape[1]
    if draw(st.booleans()):
        # Nobody is masked entirely: torch's own result would be nan there.
        mask = torch.rand(batch, seen) < 0.3
        mask[:, 0] = False
        options['key_padding_mask'] = mask
    masks = {
        'none': None,
        'float': randn(num, seen),
        'per head': randn(batch * heads, num, seen),
        'causal': torch.ones(num, seen, dtype=torch.bool).triu(1) if sort == 'self' else None,
    }
    chosen = draw(st.sampled_from(sorted(masks)))
    options['attn_mask'] = masks[chosen]
    if masks[chosen] is not None and options['attn_mask'].dtype == torch.bool:
        options['is_causal'] = draw(st.booleans())
    if not batch_first:
        unique = {id(x): x.transpose(0, 1).contiguous() for x in inputs}
        inputs = tuple(unique[id(x)] for x in inputs)  # type: ignore[assignment]
    if 'key_padding_mask' in options and options['attn_mask'] is not None:
        options['key_padding_mask'] = torch.zeros_like(
            options['key_padding_mask'], dtype=torch.float64
        ).masked_fill(options['key_padding_mask'], -torch.inf)
        if options['attn_mask'].dtype == torch.bool:
            options['attn_mask'] = torch.zeros(num, seen, dtype=torch.float64).masked_fill(
                options['attn_mask'], -torch.inf
            )
            options.pop('is_causal')
    return layer, inputs, options


KINDS = [linear, convolution, depthwise, line, transposed, attention]
STRUCTURES = ('scattered', 'rows', 'columns', 'one', 'all', 'none')


def mask_of(structure: str, neurons: int, inputs: int) -> Tensor:
    mask = torch.zeros(neurons, inputs, dtype=torch.bool)
    if structure == 'scattered':
        return torch.rand(neurons, inputs) < 0.3
    if structure == 'rows':
        mask[torch.randint(neurons, (1 + neurons // 3,))] = True
    elif structure == 'columns':
        mask[:, torch.randint(inputs, (1 + inputs // 3,))] = True
    elif structure == 'one':
        mask[torch.randint(neurons, ()), torch.randint(inputs, ())] = True
    elif structure == 'all':
        mask[:] = True
    return mask


def outputs_of(layer: nn.Module, inputs: tuple[Tensor, ...], options: dict[str, Any]) -> list:
    outputs = layer(*inputs, **options)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return [output for output in outputs if output is not None]


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(0, 2**31))
@pytest.mark.parametrize('structure', STRUCTURES)
@pytest.mark.parametrize('kind', KINDS)
def test_selected_gradient_equals_gathered_dense_gradient(
    kind: Callable, structure: str, data: st.DataObject, seed: int
) -> None:
    torch.manual_seed(seed)
    layer, inputs, options = kind(data.draw)
    layer.double()
    unique = {id(x): x.requires_grad_() for x in inputs}
    inputs = tuple(unique[id(x)] for x in inputs)
    name = 'in_proj_weight' if kind is attention else 'weight'
    weight = next(w for w in selectable_weights(layer) if w.name == name)
    matrix = weight.matrix(weight.parameter)
    mask = mask_of(structure, *matrix.shape)

    outputs = outputs_of(layer, inputs, options)
    upstream = [torch.randn_like(output) for output in outputs]
    total = sum((o * u).sum() for o, u in zip(outputs, upstream, strict=True))
    others = [p for n, p in layer.named_parameters() if n != name]
    leaves = [weight.parameter, *others, *unique.values()]
    expected = torch.autograd.grad(total, leaves, allow_unused=True)
    gathered = weight.matrix(expected[0])[mask]

    entries = Entries.from_mask(mask, tuple(weight.parameter.shape), weight.transposed_groups)
    for engine in ENGINES:
        whole = [n for n, _ in layer.named_parameters() if n != name]
        training = make_sparse(layer, Selection({name: entries}), whole=whole, engine=engine)
        again = outputs_of(layer, inputs, options)
        for output, first in zip(again, outputs, strict=True):
            assert close(output, first)
        values = layer._parameters[f'{name}_values']
        assert values is not None
        total = sum((o * u).sum() for o, u in zip(again, upstream, strict=True))
        got = torch.autograd.grad(total, [values, *others, *unique.values()], allow_unused=True)
        assert close(got[0], gathered), engine
        for mine, theirs in zip(got[1:], expected[1:], strict=True):
            assert (mine is None) == (theirs is None)
            assert mine is None or close(mine, theirs), engine
        training.restore()


def close(mine: Tensor, theirs: Tensor) -> bool:
    """Relative to the largest number, under 1e-12."""
    if mine.numel() == 0:
        return mine.shape == theirs.shape
    return bool((mine - theirs).abs().max() <= 1e-12 * theirs.abs().max().clamp(min=1))


def test_the_sampled_product_is_the_entries_of_the_product() -> None:
    left, right = randn(3, 5), randn(4, 5)
    offsets, positions = torch.tensor([0, 2, 2, 3]), torch.tensor([0, 3, 1])
    expected = (left @ right.T)[[0, 0, 2], [0, 3, 1]]
    torch.testing.assert_close(sampled_product(left, right, offsets, positions), expected)


def test_the_cheapest_engine_samples_what_is_thin_and_multiplies_what_is_dense() -> None:
    cpu, gpu = torch.device('cpu'), torch.device('cuda')
    thin = torch.zeros(768, 768, dtype=torch.bool)
    thin[torch.arange(768), torch.arange(768) % 100] = True
    rows = torch.zeros(768, 768, dtype=torch.bool)
    rows[:40] = True
    assert cheapest_engine(Entries.from_mask(thin, (768, 768)), cpu) == 'sampled'
    assert cheapest_engine(Entries.from_mask(rows, (768, 768)), cpu) == 'block'
    assert cheapest_engine(Entries.from_mask(rows.T, (768, 768)), cpu) == 'block'
    assert cheapest_engine(Entries.from_mask(thin, (768, 768)), gpu) == 'block'


def test_a_block_of_rows_multiplies_those_rows_only() -> None:
    mask = torch.zeros(6, 8, dtype=torch.bool)
    mask[[1, 4]] = True
    index = BlockIndex.of(Entries.from_mask(mask, (6, 8)))
    assert index.columns is None
    assert index.rows is not None
    assert index.rows.tolist() == [1, 4]
    assert index.places.tolist() == list(range(16))


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match='engine must be one of auto, sampled, block, dense'):
        make_sparse(nn.Linear(2, 2), Selection({}), engine='fast')


def test_the_engine_of_a_converted_model_can_be_changed_between_steps() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5)).double()
    mask = mask_of('scattered', 5, 6)
    selection = Selection({'0.weight': Entries.from_mask(mask, (5, 6))})
    training = make_sparse(model, selection)
    optimizer = torch.optim.SGD(training.parameters(), lr=0.1)
    images = randn(3, 6)
    expected = model.state_dict()['0.weight'].clone()
    for engine in ENGINES:
        training.use_engine(engine)
        optimizer.zero_grad()
        model(images).sum().backward()
        optimizer.step()
        expected -= 0.1 * images.sum(0) * mask
    torch.testing.assert_close(model.state_dict()['0.weight'], expected)
    training.restore()
    with pytest.raises(ValueError, match='no longer converted'):
        training.use_engine('block')


def test_a_convolution_keeps_planes_only_while_they_are_fewer_than_the_input() -> None:
    for num_columns, kept in ((2, 'block'), (3, 'dense')):
        layer = nn.Conv2d(2, 4, 3)
        mask = torch.zeros(4, 18, dtype=torch.bool)
        mask[:, :num_columns] = True
        entries = Entries.from_mask(mask, tuple(layer.weight.shape))
        make_sparse(layer, Selection({'weight': entries}), engine='block')
        assert stored_index(layer, 'weight').engine == kept


@pytest.mark.parametrize('engine', ENGINES)
def test_what_a_linear_layer_gives_may_be_changed_in_place(engine: str) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3).double()
    inputs, mask = randn(2, 5, 4), torch.eye(3, 4, dtype=torch.bool)
    dense = torch.autograd.grad(layer(inputs).relu().square().sum(), layer.weight)[0]
    made = make_sparse(layer, Selection({'weight': Entries.from_mask(mask, (3, 4))}), engine=engine)
    layer(inputs).relu_().square().sum().backward()
    (compact,) = (values.grad for values in made.parameters())
    assert compact is not None
    torch.testing.assert_close(compact, dense[mask])
