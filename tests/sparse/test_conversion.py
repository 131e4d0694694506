"""Stock keys, nothing else moves, compact state, a way back."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from gps_seg.delta import Delta
from gps_seg.selection import (
    Budget,
    Entries,
    Random,
    Selection,
    neuron,
    neuron_matrix,
    selectable_weights,
)
from gps_seg.sparse import (
    SparseTraining,
    is_sparse,
    make_sparse,
    read_back,
    refill_optimizer,
    sparse_weights,
    trainable_summary,
    whole_names,
)
from tests.toys import ToyNet, toy_batch, toy_loss

WHOLE = ('stem.bias', 'linear.bias', 'head.bias')


class DataWriter(Optimizer):
    """An optimizer of the old school: writes through `.data`, which no version counter shows."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__(parameters, {'lr': 0.1})

    def step(self, closure: Callable | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group['params']:
                if parameter.grad is not None:
                    parameter.data.add_(parameter.grad.data, alpha=-group['lr'])


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    'adam': lambda parameters: Adam(parameters, lr=0.01),
    'adamw': lambda parameters: AdamW(parameters, lr=0.01, weight_decay=0.5),
    'sgd with momentum and weight decay': lambda parameters: SGD(
        parameters, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True
    ),
    'writes through .data': DataWriter,
}


def converted(k: int = 2) -> tuple[ToyNet, dict, Selection]:
    training, base = toy_training(k)
    assert isinstance(training.model, ToyNet)
    return training.model, base, training.selection


def toy_training(k: int = 2) -> tuple[SparseTraining, dict]:
    torch.manual_seed(1)
    model = ToyNet()
    base = copy.deepcopy(model.state_dict())
    weights = selectable_weights(model, without=('head.weight',))
    selection = neuron(Random(weights).scores(), Budget(k=k))
    return make_sparse(model, selection, whole=WHOLE), base


def train(model: nn.Module, optimizer: Optimizer, steps: int = 3) -> None:
    model.train()
    for step in range(steps):
        optimizer.zero_grad()
        # Two accumulated micro-batches, then clipping.
        for half in range(2):
            toy_loss(model, *toy_batch(seed=2 * step + half)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def assert_only_selected_moved(state: dict[str, Tensor], base: dict, selection: Selection) -> None:
    for name, tensor in state.items():
        if name in selection:
            groups = selection[name].transposed_groups
            moved = neuron_matrix(tensor, groups) != neuron_matrix(base[name], groups)
            assert not (moved & ~selection[name].mask()).any(), name
            assert moved.any(), name
        elif name in WHOLE:
            assert (tensor != base[name]).any(), name
        else:
            assert torch.equal(tensor, base[name]), name


@pytest.mark.parametrize('make', OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_nothing_but_the_selected_entries_moves(make: Callable) -> None:
    model, base, selection = converted()
    train(model, make(trainable(model)))
    assert_only_selected_moved(model.state_dict(), base, selection)


def test_nothing_but_the_selected_entries_moves_under_mixed_precision() -> None:
    model, base, selection = converted()
    optimizer = AdamW(trainable(model), lr=0.01, weight_decay=0.5)
    for step in range(2):
        optimizer.zero_grad()
        with torch.autocast('cpu', dtype=torch.bfloat16):
            loss = toy_loss(model, *toy_batch(seed=step))
        loss.backward()
        optimizer.step()
    assert_only_selected_moved(model.state_dict(), base, selection)


def test_training_runs_and_repeats_under_deterministic_algorithms() -> None:
    states = []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            model, base, selection = converted()
            train(model, Adam(trainable(model), lr=0.01))
            states.append(copy.deepcopy(model.state_dict()))
            Delta.between(base, states[0], selection).swap(base)
            assert all(torch.equal(base[name], states[0][name]) for name in base)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_values_reach_a_weight_of_any_memory_layout() -> None:
    model, base, selection = converted()
    model.to(memory_format=torch.channels_last)
    assert not dict(model.named_parameters())['stem.weight'].is_contiguous()
    train(model, Adam(trainable(model), lr=0.01))
    assert_only_selected_moved(model.state_dict(), base, selection)


def test_a_shared_weight_is_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    mask = torch.ones(3, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r'0\.weight is the same tensor as 1\.weight'):
        make_sparse(model, Selection({'0.weight': Entries.from_mask(mask, (3, 3))}))


def test_a_batch_norm_without_parameters_goes_with_its_neighbours() -> None:
    def build() -> nn.Module:
        inner = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False))
        return nn.ModuleDict({'head': inner, 'body': copy.deepcopy(inner)})

    training = make_sparse(build(), Selection({}), whole=['head.0.weight', 'head.0.bias'])
    model = training.model.train()
    assert model.get_submodule('head.1').training
    assert not model.get_submodule('body.1').training


def test_the_state_dict_has_the_keys_of_the_base_in_order_and_the_tuned_values() -> None:
    model, base, _ = converted()
    assert list(model.state_dict()) == list(base)
    optimizer = Adam(trainable(model), lr=0.01)
    train(model, optimizer)
    stock = ToyNet()
    stock.load_state_dict(model.state_dict())
    model.eval(), stock.eval()
    images, _ = toy_batch(seed=9)
    assert torch.equal(stock(images), model(images))


def test_weights_are_up_to_date_right_after_the_step_for_whoever_reads_them() -> None:
    model, _, selection = converted()
    train(model, DataWriter(trainable(model)), steps=1)
    for name, layer, weight in sparse_weights(model):
        raw = dict(model.named_parameters())[name]
        values = layer._parameters[f'{weight}_values']
        assert values is not None
        assert torch.equal(torch.take(raw, selection[name].storage_index()), values)


def test_values_edited_by_hand_reach_the_next_forward() -> None:
    model, _, _ = converted()
    images, _ = toy_batch()
    model.eval()
    before = model(images)
    with torch.no_grad():
        dict(model.named_parameters())['linear.weight_values'].add_(1)
    assert not torch.equal(model(images), before)


def test_training_equals_masked_dense_training() -> None:
    model, base, selection = converted()
    optimizer = SGD(trainable(model), lr=0.05, momentum=0.9)
    dense = ToyNet()
    dense.load_state_dict(base)
    dense.norm.eval()
    reference = SGD(dense.parameters(), lr=0.05, momentum=0.9)
    model.train()
    for step in range(4):
        optimizer.zero_grad(), reference.zero_grad()
        toy_loss(model, *toy_batch(seed=step)).backward()
        toy_loss(dense, *toy_batch(seed=step)).backward()
        for name, parameter in dense.named_parameters():
            assert parameter.grad is not None
            if name in selection:
                groups = selection[name].transposed_groups
                neuron_matrix(parameter.grad, groups)[~selection[name].mask()] = 0
                if groups:  # the matrix of a transposed convolution is a copy
                    kept = torch.zeros(parameter.numel())
                    index = selection[name].storage_index()
                    kept[index] = parameter.grad.flatten()[index]
                    parameter.grad.copy_(kept.view_as(parameter))
            elif name not in WHOLE:
                parameter.grad.zero_()
        optimizer.step(), reference.step()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, dense.state_dict()[name], atol=1e-6), name


def test_gradients_and_optimizer_state_are_of_the_size_of_what_is_trained() -> None:
    model, _, _ = converted(k=1)
    optimizer = Adam(trainable(model))
    train(model, optimizer, steps=1)
    summary = trainable_summary(model)
    gradients = sum(p.grad.numel() for p in model.parameters() if p.grad is not None)
    assert gradients == summary.trainable
    state = sum(t.numel() for s in optimizer.state.values() for t in s.values())
    assert state == 2 * summary.trainable + len(trainable(model))  # two moments and a step count


def test_a_frozen_batch_norm_stays_in_eval_mode() -> None:
    training, base = toy_training()
    model: Any = training.model.train()
    assert not model.norm.training
    model(toy_batch()[0])
    assert torch.equal(model.state_dict()['norm.running_mean'], base['norm.running_mean'])
    training.restore()
    model.train()
    assert model.norm.training


def test_a_batch_norm_that_is_trained_stays_live() -> None:
    model = ToyNet()
    make_sparse(model, Selection({}), whole=['norm.weight', 'norm.bias'])
    model.train()
    assert model.norm.training


def test_restore_gives_back_stock_layers_with_tuned_values() -> None:
    training, base = toy_training()
    model: Any = training.model
    train(model, Adam(training.parameters(), lr=0.01))
    tuned = copy.deepcopy(model.state_dict())
    training.restore()
    assert not is_sparse(model)
    assert type(model.linear) is nn.Linear
    assert [name for name, _ in model.named_parameters()] == [
        name for name, _ in ToyNet().named_parameters()
    ]
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(model.state_dict()[name], tuned[name]) for name in tuned)
    assert_only_selected_moved(model.state_dict(), base, training.selection)


def test_converting_restoring_and_converting_again_works() -> None:
    training, _ = toy_training()
    model, selection = training.restore(), training.selection
    make_sparse(model, selection, whole=WHOLE)
    with pytest.raises(ValueError, match='already converted'):
        make_sparse(model, selection)


def test_loading_a_state_dict_refreshes_the_compact_values() -> None:
    model, base, _ = converted()
    train(model, Adam(trainable(model), lr=0.01))
    result = model.load_state_dict(base)
    assert not result.missing_keys
    assert not result.unexpected_keys
    images, _ = toy_batch()
    stock = ToyNet().eval()
    stock.load_state_dict(base)
    model.eval()
    assert torch.equal(model(images), stock(images))
    # The next step starts from the loaded values, not from the old ones.
    train(model, SGD(trainable(model), lr=0.0))
    assert all(torch.equal(model.state_dict()[name], base[name]) for name in base)


def test_read_back_takes_values_that_were_written_into_the_weights() -> None:
    model, _, _ = converted()
    raw = dict(model.named_parameters())['linear.weight']
    raw.data.fill_(7)
    read_back(model)
    assert bool((dict(model.named_parameters())['linear.weight_values'] == 7).all())


def test_a_deep_copy_trains_by_itself() -> None:
    model, _, _ = converted()
    twin = copy.deepcopy(model)
    before = copy.deepcopy(model.state_dict())
    train(twin, Adam(trainable(twin), lr=0.01))
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    assert not torch.equal(twin.state_dict()['linear.weight'], before['linear.weight'])


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_small_steps_are_not_lost_on_a_low_precision_base(dtype: torch.dtype) -> None:
    linear = nn.Linear(4, 4, dtype=dtype)
    layer = nn.Sequential(linear)
    nn.init.ones_(linear.weight)
    mask = torch.eye(4, dtype=torch.bool)
    make_sparse(layer, Selection({'0.weight': Entries.from_mask(mask, (4, 4))}))
    values = dict(layer.named_parameters())['0.weight_values']
    assert values.dtype == torch.float32
    optimizer = SGD([values], lr=1.0)
    for _ in range(100):
        values.grad = torch.full_like(values, 1e-4)  # far below the base's resolution at 1
        optimizer.step()
    assert torch.allclose(values, torch.full((4,), 0.99), atol=1e-5)
    assert torch.equal(linear.weight.diagonal(), values.to(dtype))


def test_moving_the_model_moves_the_values_with_it() -> None:
    model, _, _ = converted()
    model.double()
    train(model.float(), Adam(trainable(model), lr=0.01))
    assert dict(model.named_parameters())['linear.weight_values'].dtype == torch.float32


def test_counts_add_up() -> None:
    model, base, selection = converted(k=2)
    summary = trainable_summary(model)
    assert (
        summary.selected
        == selection.num_entries
        == sum(2 * e.num_neurons for e in selection.values())
    )
    assert summary.whole == sum(base[name].numel() for name in WHOLE)
    assert summary.total == sum(parameter.numel() for parameter in ToyNet().parameters())
    assert sorted(whole_names(model)) == sorted(WHOLE)


def test_a_built_optimizer_gets_the_compact_parameters_in_the_same_groups() -> None:
    torch.manual_seed(1)
    model = ToyNet()
    head = list(model.head.parameters())
    rest = [p for n, p in model.named_parameters() if not n.startswith('head')]
    optimizer = AdamW([{'params': rest, 'lr': 0.01}, {'params': head, 'lr': 0.1}])
    selection = neuron(Random(selectable_weights(model)).scores(), Budget(k=1))
    training = make_sparse(model, selection, whole=WHOLE)
    refill_optimizer(optimizer, replaced=training.replaced, trained=training.named_parameters())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    held = [[names[id(p)] for p in group['params']] for group in optimizer.param_groups]
    assert held[1] == ['head.weight_values', 'head.bias']
    assert optimizer.param_groups[1]['lr'] == 0.1
    assert 'linear.weight_values' in held[0]
    assert 'linear.weight' not in held[0]
    assert sum(map(len, held)) == len(trainable(model))


def test_an_optimizer_that_lacks_trained_parameters_is_refused() -> None:
    model = ToyNet()
    optimizer = Adam(model.head.parameters())
    trained = make_sparse(model, Selection({}), whole=WHOLE).named_parameters()
    with pytest.raises(ValueError, match=r'was not built for stem\.bias'):
        refill_optimizer(optimizer, replaced=[], trained=trained)


def test_a_selection_of_another_architecture_is_refused() -> None:
    mask = torch.ones(3, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match='no parameter'):
        make_sparse(ToyNet(), Selection({'absent.weight': Entries.from_mask(mask, (3, 3))}))
    with pytest.raises(ValueError, match='of shape'):
        make_sparse(ToyNet(), Selection({'linear.weight': Entries.from_mask(mask, (3, 3))}))


def test_the_handle_names_what_is_trained_and_what_stands_for_what() -> None:
    training, _ = toy_training()
    model = training.model
    assert list(training.weights) == [name for name, _, _ in sparse_weights(model)]
    assert set(training.whole) == set(WHOLE)
    assert training.named_parameters().keys() == {*training.weights, *WHOLE}
    assert list(map(id, training.parameters())) == list(map(id, trainable(model)))
    for (dense, compact), (name, weight) in zip(
        training.replaced, training.weights.items(), strict=True
    ):
        assert dense is dict(model.named_parameters())[name] is weight.weight
        assert list(map(id, compact)) == [id(weight.values)]
        assert torch.equal(torch.take(dense, weight.entries.storage_index()), weight.values)


def test_precise_values_come_back_exactly_or_are_refused() -> None:
    training, _ = toy_training()
    precise = training.precise_values()
    train(training.model, SGD(training.parameters(), lr=0.1))
    moved = copy.deepcopy(training.model.state_dict())
    assert not torch.equal(training.precise_values()['linear.weight'], precise['linear.weight'])
    tuned = training.precise_values()
    training.load_precise_values(precise)
    training.load_precise_values(tuned)
    assert all(torch.equal(training.model.state_dict()[name], moved[name]) for name in moved)
    with pytest.raises(ValueError, match=r'stem\.weight .* is in only one of the two'):
        training.load_precise_values({n: v for n, v in precise.items() if n != 'stem.weight'})
    with pytest.raises(ValueError, match=r'the values of stem\.weight are torch\.float64'):
        training.load_precise_values({name: values.double() for name, values in precise.items()})


def test_a_deep_copy_of_the_handle_restores_its_own_model() -> None:
    training, _ = toy_training()
    twin = copy.deepcopy(training)
    assert type(twin.restore().get_submodule('linear')) is nn.Linear
    assert is_sparse(training.model)


def test_restoring_gives_each_parameter_and_norm_what_it_had() -> None:
    model: Any = ToyNet()
    model.linear.bias.requires_grad_(False)
    model.train()
    model.norm.eval()
    training = make_sparse(model, Selection({}), whole=WHOLE)
    assert model.linear.bias.requires_grad
    training.restore()
    assert not model.linear.bias.requires_grad
    assert model.training
    assert not model.norm.training


def test_an_optimizer_holds_a_parameter_once_and_stays_as_it_was_after_an_error() -> None:
    one, two, added = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    optimizer = SGD([{'params': [one], 'lr': 0.1}, {'params': [two], 'lr': 0.2}], lr=1.0)
    with pytest.raises(ValueError, match='was not built for other'):
        refill_optimizer(optimizer, replaced=[(one, [added])], trained={'a': added, 'other': one})
    assert [group['params'] for group in optimizer.param_groups] == [[one], [two]]
    replaced = [(one, [one, added]), (two, [added])]
    refill_optimizer(optimizer, replaced=replaced, trained={'one': one, 'added': added})
    assert [list(map(id, g['params'])) for g in optimizer.param_groups] == [
        [id(one), id(added)],
        [],
    ]
    one.grad = torch.ones(2)
    optimizer.step()
    optimizer.state[one] = {'step': 1}
    with pytest.raises(ValueError, match='already stepped'):
        refill_optimizer(optimizer, replaced=[], trained={})
