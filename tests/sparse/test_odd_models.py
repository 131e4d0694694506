"""Models and inputs that are not as usual: the right result, or an error that says why."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from gps_seg.selection import Budget, Entries, Random, Selection, neuron, selectable_weights
from gps_seg.sparse import SparseTraining, convert, convert_layer, make_sparse, whole_names
from tests.sparse.truth import WHOLE, assert_one_truth, state_of, toy_training
from tests.toys import ToyNet, toy_batch, toy_loss


def every_entry(*names: str, model: nn.Module) -> Selection:
    entries = {}
    for name in names:
        shape = tuple(model.get_parameter(name).shape)
        mask = torch.ones(shape[0], torch.Size(shape).numel() // shape[0], dtype=torch.bool)
        entries[name] = Entries.from_mask(mask, shape)
    return Selection(entries)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x)))


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(3, 3), nn.Linear(3, 2)
        self.again = self.first

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.again(self.first(x)))


@pytest.mark.parametrize('build', [Tied, Shared])
@pytest.mark.parametrize('place', [0, 1])
def test_a_tied_parameter_is_trained_whole_by_either_name(
    build: Callable, place: int, engine: str
) -> None:
    model = build()
    name = ['first.weight', 'second.weight' if build is Tied else 'again.weight'][place]
    training = make_sparse(
        model, every_entry('head.weight', model=model), whole=[name], engine=engine
    )
    assert 'first.weight' in training.named_parameters()
    assert set(whole_names(model)) == set(training.whole)
    assert name in training.whole
    assert len(training.whole) == 2
    before = model.first.weight.detach().clone()
    model(torch.randn(4, 3)).square().sum().backward()
    torch.optim.SGD(training.parameters(), lr=0.1).step()
    assert not torch.equal(model.first.weight, before)
    training.restore()
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize('build', [Tied, Shared])
def test_a_weight_under_two_names_is_not_selected_from(build: Callable) -> None:
    model = build()
    assert [weight.name for weight in selectable_weights(model)] == ['head.weight']
    with pytest.raises(ValueError, match=r'first\.weight is the same tensor as'):
        make_sparse(model, every_entry('first.weight', model=model))


@pytest.mark.parametrize('part', ['layer', 'norm', 'hooks'])
def test_an_exception_half_way_leaves_the_model_as_it_was(
    monkeypatch: pytest.MonkeyPatch, engine: str, part: str
) -> None:
    model: Any = ToyNet()
    model.linear.bias.requires_grad_(False)
    model.norm.train()
    before, flags = state_of(model), [p.requires_grad for p in model.parameters()]
    classes = [type(module) for module in model.modules()]
    attributes = [set(vars(module)) for module in model.modules()]
    calls = []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if part != 'layer' or len(calls) == 4:
            raise KeyboardInterrupt
        return chosen(*arguments)

    chosen = convert_layer.choose_forward
    if part == 'layer':
        monkeypatch.setattr(convert_layer, 'choose_forward', interrupted)
    elif part == 'norm':
        monkeypatch.setattr(convert, 'freeze_norm', interrupted)
    else:
        monkeypatch.setattr(convert.RootHooks, 'register', interrupted)
    selection = neuron(Random(selectable_weights(model)).scores(), Budget(k=1))
    with pytest.raises(KeyboardInterrupt):
        make_sparse(model, selection, whole=WHOLE, engine=engine)
    assert [type(module) for module in model.modules()] == classes
    assert [set(vars(module)) for module in model.modules()] == attributes
    assert [p.requires_grad for p in model.parameters()] == flags
    assert model.norm.training
    assert not model._forward_hooks and not model._forward_pre_hooks
    assert list(dict(model.named_buffers())) == list(dict(ToyNet().named_buffers()))
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    monkeypatch.undo()
    make_sparse(model, selection, whole=WHOLE, engine=engine)


@pytest.mark.parametrize('name', ['weight_values', 'weight_index', 'weight_places', 'agreements'])
def test_a_layer_that_has_such_an_attribute_is_refused(name: str) -> None:
    model: Any = nn.Sequential(nn.Linear(3, 3))
    setattr(model[0], name, 1)
    with pytest.raises(ValueError, match=f'already has an attribute {name}'):
        make_sparse(model, every_entry('0.weight', model=model))
    assert type(model[0]) is nn.Linear
    assert model[0].weight.requires_grad


@pytest.mark.parametrize('strict', [True, False])
def test_a_checkpoint_of_compact_values_is_refused(training: SparseTraining, strict: bool) -> None:
    model = training.model
    everything = {name: p.detach() + 1 for name, p in model.named_parameters()}
    with pytest.raises(ValueError, match='compact values of a converted model'):
        model.load_state_dict(everything, strict=strict)


def test_a_parametrized_and_a_quantized_layer_are_left_alone(engine: str) -> None:
    model = nn.Sequential(
        nn.Linear(3, 3),
        parametrizations.weight_norm(nn.Linear(3, 3)),
        nn.Linear(3, 3),
        nn.Linear(3, 2),
    )
    quantized: Any = model[2]
    quantized.weight = nn.Parameter(torch.ones(3, 3, dtype=torch.int8), requires_grad=False)
    quantized.forward = lambda x: x + 1
    weights = selectable_weights(model)
    assert [weight.name for weight in weights] == ['0.weight', '3.weight']
    training = make_sparse(model, neuron(Random(weights).scores(), Budget(k=1)), engine=engine)
    before = state_of(model)
    model(torch.randn(4, 3)).sum().backward()
    torch.optim.SGD(training.parameters(), lr=0.1).step()
    differing = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    assert differing == {'0.weight', '3.weight'}
    training.restore()
    with pytest.raises(ValueError, match=r'2\.weight is torch\.int8, which cannot be trained'):
        make_sparse(model, Selection({}), whole=['2.weight'])


def test_extra_state_that_is_no_tensor_goes_along(engine: str) -> None:
    class Extra(nn.Linear):
        note = 'first'

        def get_extra_state(self) -> dict:
            return {'note': self.note}

        def set_extra_state(self, state: dict) -> None:
            self.note = state['note']

    model: Any = nn.Sequential(Extra(3, 3))
    training = make_sparse(model, every_entry('0.weight', model=model), engine=engine)
    state = copy.deepcopy(model.state_dict())
    state['0._extra_state'] = {'note': 'second'}
    state['0.weight'] += 1
    model.load_state_dict(state)
    assert model[0].note == 'second'
    assert torch.equal(training.precise_values()['0.weight'], state['0.weight'].flatten())


def test_an_empty_batch_gives_zero_gradients(training: SparseTraining) -> None:
    model = training.model
    output = model(torch.zeros(0, 3, 16, 16))
    assert output.shape == (0, 3)
    output.sum().backward()
    for name, weight in training.weights.items():
        assert weight.values.grad is not None, name
        assert not weight.values.grad.any(), name
    torch.optim.SGD(training.parameters(), lr=0.1).step()
    assert_one_truth(model, state_of(toy_training().model))


def test_weights_with_transposed_storage_are_trained_like_others(engine: str) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(5, 4), nn.Conv2d(1, 4, 2))
    turned = copy.deepcopy(plain)
    for module in turned:
        weight: Any = module.weight
        order = list(range(weight.dim()))[::-1]
        weight.data = weight.detach().permute(order).contiguous().permute(order)
        assert not weight.is_contiguous()
    images = torch.randn(3, 5)
    states = []
    for model in (plain, turned):
        selection = neuron(Random(selectable_weights(model), seed=3).scores(), Budget(k=1))
        training = make_sparse(model, selection, engine=engine)
        optimizer = torch.optim.SGD(training.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            planes = images[:, None, None].expand(3, 1, 2, 5)
            (model[0](images).sum() + model[1](planes).sum()).backward()
            optimizer.step()
        states.append(state_of(training.restore()))
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name])


def outcome(model: nn.Module, images: Tensor, autocast: bool) -> Any:
    try:
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            output = model(images)
        return output.dtype
    except RuntimeError as error:
        return type(error)


@pytest.mark.parametrize('autocast', [True, False])
@pytest.mark.parametrize('given', [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    'layer', [nn.Linear(5, 5), nn.Conv2d(5, 5, 1), nn.Conv2d(5, 5, 3, padding=1)]
)
def test_an_input_of_another_type_does_what_it_does_in_stock(
    layer: nn.Module, given: torch.dtype, autocast: bool, engine: str
) -> None:
    stock = nn.Sequential(copy.deepcopy(layer))
    model = copy.deepcopy(stock)
    make_sparse(model, every_entry('0.weight', model=model), engine=engine)
    images = torch.randn(2, 5, 5, 5).to(given).requires_grad_()
    assert outcome(model, images, autocast) == outcome(stock, images, autocast)


@pytest.mark.parametrize('need_weights', [True, False])
@pytest.mark.parametrize('batch_first', [True, False])
@pytest.mark.parametrize('itself', [True, False])
def test_attention_returns_the_memory_layout_of_stock_and_draws_its_masks(
    batch_first: bool, need_weights: bool, itself: bool, engine: str
) -> None:
    torch.manual_seed(0)
    stock = nn.MultiheadAttention(8, 2, dropout=0.4, batch_first=batch_first)
    model = copy.deepcopy(stock)
    selection = neuron(Random(selectable_weights(model)).scores(), Budget(k=2))
    make_sparse(model, selection, engine=engine)
    query = torch.randn(5, 3, 8)
    key = query if itself else torch.randn(5, 3, 8)
    results = []
    for layer in (stock, model):
        torch.manual_seed(1)
        output, weights = layer(query, key, key, need_weights=need_weights)
        results.append((output, weights, nn.functional.dropout(output, 0.5)))
    for mine, theirs in zip(*results, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert mine.stride() == theirs.stride()
            torch.testing.assert_close(mine, theirs)


def test_a_copy_of_a_copy_steps_its_own_weights(training: SparseTraining) -> None:
    before = state_of(training.model)
    twin = copy.deepcopy(copy.deepcopy(training))
    for parameter in twin.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(twin.parameters(), lr=0.5).step()
    raw = dict(twin.model.named_parameters())
    for name, weight in twin.weights.items():  # read past the layer, before any forward pass
        entries = torch.take(raw[name], weight.entries.storage_index())
        assert torch.equal(entries, torch.take(before[name], weight.entries.storage_index()) - 0.5)
    assert_one_truth(training.model, before)


def test_a_conversion_in_inference_mode_can_be_trained(engine: str) -> None:
    model = ToyNet()
    selection = neuron(Random(selectable_weights(model)).scores(), Budget(k=1))
    with torch.inference_mode():
        training = make_sparse(model, selection, engine=engine)
        training.use_engine('dense')
    toy_loss(model, *toy_batch()).backward()
    torch.optim.SGD(training.parameters(), lr=0.1).step()
    training.check()
