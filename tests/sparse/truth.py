"""A converted toy model and what must hold of it, whoever writes into it."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from gps_seg.selection import Budget, Random, neuron, selectable_weights
from gps_seg.sparse import SparseTraining, make_sparse
from tests.toys import ToyNet, toy_batch

WHOLE = ('stem.bias', 'linear.bias', 'head.bias')
State = dict[str, Tensor]


def toy_training(engine: str = 'auto', dtype: torch.dtype = torch.float32) -> SparseTraining:
    torch.manual_seed(1)
    model = ToyNet().to(dtype)
    selection = neuron(Random(selectable_weights(model), seed=2).scores(), Budget(k=2))
    return make_sparse(model, selection, whole=WHOLE, engine=engine)


def stock_copy(state: State, dtype: torch.dtype = torch.float32) -> nn.Module:
    model = ToyNet().to(dtype)
    model.load_state_dict(state)
    return model.eval()


def state_of(model: nn.Module) -> State:
    return copy.deepcopy(dict(model.state_dict()))


def with_values(state: State, training: SparseTraining, values: State) -> State:
    """The state that these values make, entry by entry, past all code under test."""
    state = copy.deepcopy(state)
    for name, new in values.items():
        flat = state[name].flatten()
        flat[training.weights[name].entries.storage_index()] = new.to(flat.dtype)
        state[name] = flat.view(state[name].shape)
    return state


def moved_values(training: SparseTraining, by: float = 0.25) -> State:
    return {name: w.values.detach().clone() + by for name, w in training.weights.items()}


def assert_one_truth(model: Any, expected: State, *, forward_first: bool = True) -> None:
    """The output, the state dict and the compact values are those of the expected state."""
    images, _ = toy_batch()
    dtype = next(iter(expected.values())).dtype
    images, mode = images.to(dtype), model.training
    model.eval()
    if forward_first:
        output = model(images)
        state = model.state_dict()
    else:
        state = model.state_dict()
        output = model(images)
    model.train(mode)
    assert list(state) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name
    stock = stock_copy(expected, dtype)(images)
    torch.testing.assert_close(output, stock, rtol=1e-5, atol=1e-6)
    own = dict(model.named_parameters())
    for name in [name for name in own if f'{name}_values' in own]:
        index = dict(model.named_buffers())[f'{name}_index']
        entries = torch.take(expected[name], index)
        assert torch.equal(own[f'{name}_values'].to(entries.dtype), entries), name


def assert_trains(model: Any, expected: State) -> None:
    """A step of gradient descent moves the expected state as it moves masked dense weights."""
    images, labels = toy_batch(seed=4)
    stock = stock_copy(expected)
    model.eval()
    compact = dict(model.named_parameters())
    for one in (model, stock):
        one.zero_grad()
        nn.functional.cross_entropy(one(images), labels).backward()
    for name, parameter in stock.named_parameters():
        if f'{name}_values' in compact:
            index = dict(model.named_buffers())[f'{name}_index']
            assert parameter.grad is not None
            got = compact[f'{name}_values'].grad
            torch.testing.assert_close(got, torch.take(parameter.grad, index), rtol=1e-4, atol=1e-6)
    model.zero_grad()
