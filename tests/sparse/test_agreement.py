"""Values and weights never disagree: whoever writes either, all readers see the same."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim import SGD, Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gps_seg.delta import Delta
from gps_seg.sparse import SparseTraining, agree, sparse_weights
from tests.sparse.truth import (
    assert_one_truth,
    assert_trains,
    moved_values,
    state_of,
    toy_training,
    with_values,
)
from tests.toys import toy_batch, toy_loss

MOVE = 0.25


def compact(training: SparseTraining) -> list[Tensor]:
    return [weight.values for weight in training.weights.values()]


def add(training: SparseTraining) -> None:
    with torch.no_grad():
        for values in compact(training):
            values.add_(MOVE)


def lerp(training: SparseTraining) -> None:
    with torch.no_grad():
        for values in compact(training):
            values.lerp_(values + 2 * MOVE, 0.5)


def foreach(training: SparseTraining) -> None:
    with torch.no_grad():
        torch._foreach_add_(compact(training), MOVE)


def through_data(training: SparseTraining) -> None:
    for values in compact(training):
        values.data.sub_(-MOVE)


def other_data(training: SparseTraining) -> None:
    for values in compact(training):
        values.data = values.detach() + MOVE


def from_a_vector(training: SparseTraining) -> None:
    vector_to_parameters(parameters_to_vector(compact(training)) + MOVE, compact(training))


def in_a_detached_alias(training: SparseTraining) -> None:
    for values in compact(training):
        values.detach().add_(MOVE)


VALUE_WRITERS = [add, foreach, through_data, other_data, from_a_vector, in_a_detached_alias]


@pytest.mark.parametrize('forward_first', [True, False], ids=['forward', 'state dict'])
@pytest.mark.parametrize('write', VALUE_WRITERS)
def test_values_written_outside_an_optimizer_are_seen_by_every_reader(
    training: SparseTraining, write: Callable, forward_first: bool
) -> None:
    expected = with_values(state_of(training.model), training, moved_values(training, MOVE))
    write(training)
    assert_one_truth(training.model, expected, forward_first=forward_first)
    assert_trains(training.model, expected)
    training.check()


def test_values_interpolated_in_place_are_seen(training: SparseTraining) -> None:
    values = {n: w.values.detach().clone() for n, w in training.weights.items()}
    other = {name: value + 2 * MOVE for name, value in values.items()}
    expected = {name: value.lerp(other[name], 0.5) for name, value in values.items()}
    state = with_values(state_of(training.model), training, expected)
    lerp(training)
    assert_one_truth(training.model, state)


def write_state_dict_tensors(training: SparseTraining) -> None:
    for name, tensor in training.model.state_dict().items():
        if name in training.weights:
            tensor.add_(MOVE)


def load_state_dict(training: SparseTraining) -> None:
    state = state_of(training.model)
    moved = {n: t + MOVE if n in training.weights else t for n, t in state.items()}
    training.model.load_state_dict(moved)


def load_and_assign(training: SparseTraining) -> None:
    state = state_of(training.model)
    moved = {n: t + MOVE if n in training.weights else t for n, t in state.items()}
    training.model.load_state_dict(moved, assign=True)


def load_in_part(training: SparseTraining) -> None:
    state = state_of(training.model)
    moved = {name: state[name] + MOVE for name in training.weights}
    training.model.load_state_dict(moved, strict=False)


def fill_in_place(training: SparseTraining) -> None:
    with torch.no_grad():
        for weight in training.weights.values():
            weight.weight.copy_(weight.weight + MOVE)


def write_through_data(training: SparseTraining) -> None:
    for weight in training.weights.values():
        weight.weight.data.add_(MOVE)


def other_weight_data(training: SparseTraining) -> None:
    for weight in training.weights.values():
        weight.weight.data = weight.weight.detach() + MOVE


def transposed_weight_data(training: SparseTraining) -> None:
    for weight in training.weights.values():
        moved = weight.weight.detach() + MOVE
        order = list(range(moved.dim()))[::-1]
        weight.weight.data = moved.permute(order).contiguous().permute(order)


def assign_a_parameter(training: SparseTraining) -> None:
    for weight in training.weights.values():
        layer: Any = weight.layer
        new = nn.Parameter(weight.weight.detach() + MOVE, requires_grad=False)
        setattr(layer, weight.name, new)


WEIGHT_WRITERS = [
    write_state_dict_tensors,
    load_state_dict,
    load_and_assign,
    load_in_part,
    fill_in_place,
    write_through_data,
    other_weight_data,
    transposed_weight_data,
    assign_a_parameter,
]


@pytest.mark.parametrize('forward_first', [True, False], ids=['forward', 'state dict'])
@pytest.mark.parametrize('write', WEIGHT_WRITERS)
def test_weights_written_by_others_are_kept_by_values_steps_and_restore(
    training: SparseTraining, write: Callable, forward_first: bool
) -> None:
    expected = state_of(training.model)
    for name in training.weights:
        expected[name] = expected[name] + MOVE
    write(training)
    assert_one_truth(training.model, expected, forward_first=forward_first)
    assert_trains(training.model, expected)
    toy_loss(training.model, *toy_batch()).backward()
    SGD(training.parameters(), lr=0.0).step()
    assert_one_truth(training.model, expected)
    training.restore()
    assert all(torch.equal(training.model.state_dict()[n], t) for n, t in expected.items())


@pytest.mark.parametrize('make', [lambda p: SGD(p, lr=0.1), lambda p: Adam(p, lr=0.01)])
def test_a_weight_written_between_backward_and_step_is_stepped_from(
    training: SparseTraining, make: Callable
) -> None:
    twin = copy.deepcopy(training)
    toy_loss(training.model, *toy_batch()).backward()
    gradients = {n: p.grad for n, p in training.named_parameters().items()}
    write_state_dict_tensors(training)
    write_state_dict_tensors(twin)
    twin.check()
    for name, parameter in twin.named_parameters().items():
        parameter.grad = gradients[name]
    make(twin.parameters()).step()
    make(training.parameters()).step()
    assert_one_truth(training.model, state_of(twin.model))


def test_nothing_but_the_selected_entries_takes_part(training: SparseTraining) -> None:
    frozen = dict(training.model.named_parameters())['frozen_norm.weight']
    with torch.no_grad():
        frozen.add_(1)
    expected = state_of(training.model)
    assert bool((expected['frozen_norm.weight'] == 2).all())
    assert_one_truth(training.model, expected)


def test_equal_writes_to_both_are_one_write(training: SparseTraining) -> None:
    expected = state_of(training.model)
    for name in training.weights:
        expected[name] = expected[name] + MOVE
    add(training)
    fill_in_place(training)
    assert_one_truth(training.model, expected)


@pytest.mark.parametrize('read', ['forward', 'state_dict', 'check', 'agree', 'step', 'restore'])
def test_different_writes_to_both_are_an_error(
    training: SparseTraining, waiting: str, read: str
) -> None:
    model = training.model
    toy_loss(model, *toy_batch()).backward()
    add(training)
    with torch.no_grad():
        training.weights['linear.weight'].weight.fill_(3)
    readers: dict[str, Callable[[], Any]] = {
        'forward': lambda: model(toy_batch()[0]),
        'state_dict': model.state_dict,
        'check': training.check,
        'agree': lambda: agree(model),
        'step': lambda: SGD(training.parameters(), lr=0.1).step(),
        'restore': training.restore,
    }
    if waiting == 'does not wait' and read in ('forward', 'step'):
        readers[read]()  # nobody may look at the result here: the next reader raises
        read = 'state_dict'
    with pytest.raises(ValueError, match=r'were both written'):
        readers[read]()
    with pytest.raises(ValueError, match=r'linear\.weight: .* were both written'):
        training.check()
    # Either way on from there.
    twin = copy.deepcopy(training)
    precise = {n: torch.zeros_like(w.values) for n, w in training.weights.items()}
    training.load_precise_values(precise)
    training.check()
    base = state_of(toy_training().model)
    twin.model.load_state_dict(base)
    assert_one_truth(twin.model, base)


def test_a_hand_written_average_of_a_fresh_copy_is_the_average(training: SparseTraining) -> None:
    average = copy.deepcopy(training.model)
    start = state_of(average)
    optimizer = SGD(training.parameters(), lr=0.5)
    expected = {name: tensor.double() for name, tensor in start.items()}
    for step in range(3):
        optimizer.zero_grad()
        toy_loss(training.model, *toy_batch(seed=step)).backward()
        optimizer.step()
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), training.model.parameters(), strict=True):
                mine.lerp_(theirs, 0.25)
        for name, tensor in training.model.state_dict().items():
            expected[name].lerp_(tensor.double(), 0.25)
    assert not torch.equal(average.state_dict()['linear.weight'], start['linear.weight'])
    for name, tensor in average.state_dict().items():
        torch.testing.assert_close(tensor, expected[name].to(tensor.dtype), msg=name)
    assert_one_truth(average, state_of(average))


@pytest.mark.parametrize('only_trained', [True, False])
def test_a_soup_of_copies_is_their_mean(training: SparseTraining, only_trained: bool) -> None:
    others = [copy.deepcopy(training.model) for _ in range(2)]
    for factor, other in enumerate(others, start=1):
        with torch.no_grad():
            for _, layer, name in sparse_weights(other):
                layer._parameters[f'{name}_values'].add_(factor)  # type: ignore[union-attr]
    soup = copy.deepcopy(training.model)
    groups = zip(soup.parameters(), *(o.parameters() for o in others), strict=True)
    states = [state_of(other) for other in others] if not only_trained else []
    with torch.no_grad():
        for mine, one, other_one in groups:
            if mine.requires_grad or not only_trained:
                mine.copy_((one + other_one) / 2)
    states = states or [state_of(other) for other in others]
    expected = {name: (states[0][name] + states[1][name]) / 2 for name in states[0]}
    for name, tensor in state_of(training.model).items():
        if not tensor.is_floating_point():
            expected[name] = tensor
    for name, tensor in soup.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], msg=name)
    assert_one_truth(soup, state_of(soup))


def test_averages_of_torch_and_timm_are_averages(training: SparseTraining) -> None:
    model = training.model
    averages: list[Any] = [
        AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.75)),
        ModelEmaV3(model, decay=0.75, foreach=True),
        ModelEmaV3(model, decay=0.75, foreach=False),
    ]
    expected = [state_of(average.module) for average in averages]
    optimizer = SGD(training.parameters(), lr=0.5)
    for step in range(3):
        optimizer.zero_grad()
        toy_loss(model, *toy_batch(seed=step)).backward()
        optimizer.step()
        for average, state in zip(averages, expected, strict=True):
            if isinstance(average, AveragedModel):
                average.update_parameters(model)
            else:
                average.update(model)
            first_copy = isinstance(average, AveragedModel) and step == 0
            for name, tensor in model.state_dict().items():
                if tensor.is_floating_point():
                    state[name].lerp_(tensor, 1.0 if first_copy else 0.25)
    for average, state in zip(averages, expected, strict=True):
        for name, tensor in average.module.state_dict().items():
            torch.testing.assert_close(tensor, state[name], msg=name)
        assert_one_truth(average.module, state_of(average.module))


class ScheduleFree:
    """Holds the average outside `step`, as schedule-free optimizers do in `train` and `eval`."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.z = [p.detach().clone() for p in parameters]
        self.x = [p.detach().clone() for p in parameters]

    def step(self) -> None:
        for p, z, x in zip(self.parameters, self.z, self.x, strict=True):
            if p.grad is not None:
                z.sub_(p.grad, alpha=0.5)
            x.lerp_(z, 0.5)
            p.data.copy_(z.lerp(x, 0.9))

    def eval(self) -> None:
        for p, x in zip(self.parameters, self.x, strict=True):
            p.data.copy_(x)


def test_an_optimizer_that_writes_outside_its_step_is_followed(training: SparseTraining) -> None:
    optimizer = ScheduleFree(training.parameters())
    base = state_of(training.model)
    for step in range(2):
        training.model.zero_grad()
        toy_loss(training.model, *toy_batch(seed=step)).backward()
        optimizer.step()
    optimizer.eval()
    names = {id(p): n for n, p in training.named_parameters().items()}
    averaged = {names[id(p)]: x for p, x in zip(optimizer.parameters, optimizer.x, strict=True)}
    values = {name: averaged[name] for name in training.weights}
    expected = with_values(base, training, values)
    expected |= {name: averaged[name] for name in averaged if name not in values}
    assert_one_truth(training.model, expected)


def test_the_delta_holds_what_was_written_by_hand(training: SparseTraining) -> None:
    base = state_of(training.model)
    expected = with_values(base, training, moved_values(training, MOVE))
    through_data(training)
    tuned = training.model.state_dict()
    delta = Delta.between(base, tuned, training.selection)
    target = copy.deepcopy(base)
    delta.swap(target)
    assert all(torch.equal(target[name], expected[name]) for name in expected)


def test_a_swap_takes_out_what_was_written_by_hand_and_its_undo_brings_it_back(
    training: SparseTraining,
) -> None:
    base = state_of(training.model)
    moved = with_values(base, training, moved_values(training, 1.0))
    delta = Delta.between(base, moved)
    through_data(training)
    mine = with_values(base, training, moved_values(training, 0.0))
    undo = delta.swap(training.model, verify=False)
    assert_one_truth(training.model, moved)
    undo.swap(training.model, verify=False)
    assert_one_truth(training.model, mine)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_values_keep_their_precision_until_somebody_writes_the_weight(
    engine: str, waiting: str, dtype: torch.dtype
) -> None:
    training = toy_training(engine, dtype)
    weight = training.weights['linear.weight']
    precise = weight.values.detach() * (1 + 1e-5)
    weight.values.data.copy_(precise)
    for _ in range(2):
        training.model.eval()(toy_batch()[0].to(dtype))
        training.model.state_dict()
        training.check()
    assert torch.equal(weight.values, precise)
    training.model.float()
    assert torch.equal(weight.values, precise)
    assert torch.equal(torch.take(weight.weight, weight.entries.storage_index()), precise)
    training.model.to(dtype)
    with torch.no_grad():
        weight.weight.mul_(2)
    training.check()
    assert torch.equal(weight.values, 2 * precise.to(dtype).to(weight.values.dtype))


def test_nan_and_signed_zero_are_values_like_any_other(training: SparseTraining) -> None:
    weight = training.weights['linear.weight']
    weight.values.data[:2] = torch.tensor([float('nan'), -0.0])
    for _ in range(2):
        training.check()
        training.model(toy_batch()[0])
    entries = torch.take(weight.weight, weight.entries.storage_index())
    assert bool(entries[0].isnan())
    assert bool(entries[1].signbit())
    with torch.no_grad():
        weight.weight.fill_(float('inf'))
    training.check()
    assert bool(weight.values.isinf().all())


def test_two_forwards_then_backward_step_and_backward_act_as_stock(
    training: SparseTraining,
) -> None:
    images, labels = toy_batch()
    model = training.model
    first, second = (toy_loss(model, images, labels) for _ in range(2))
    first.backward()
    SGD(training.parameters(), lr=0.1).step()
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        second.backward()


def test_two_forwards_and_two_backwards_add_up(training: SparseTraining) -> None:
    images, labels = toy_batch()
    losses = [toy_loss(training.model, images, labels) for _ in range(2)]
    for loss in losses:
        loss.backward()
    parameters = training.named_parameters()
    doubled = {name: parameter.grad for name, parameter in parameters.items()}
    training.model.zero_grad()
    toy_loss(training.model, images, labels).backward()
    for name, parameter in parameters.items():
        assert parameter.grad is not None
        torch.testing.assert_close(doubled[name], 2 * parameter.grad, msg=name)


@pytest.mark.parametrize('mode', [torch.inference_mode, torch.no_grad])
def test_values_are_seen_where_no_gradient_is_recorded(
    training: SparseTraining, mode: Callable
) -> None:
    expected = with_values(state_of(training.model), training, moved_values(training, MOVE))
    add(training)
    with mode():
        assert_one_truth(training.model, expected)
    assert_one_truth(training.model, expected)
    assert_trains(training.model, expected)
    with mode():
        through_data(training)
        training.model(toy_batch()[0])
    expected = with_values(expected, training, moved_values(training, 0.0))
    assert_one_truth(training.model, expected)
    assert_trains(training.model, expected)
