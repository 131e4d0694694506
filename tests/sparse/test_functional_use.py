"""Calls with other tensors in place of the model's own, transforms, and compiled models."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from gps_seg.sparse import SparseTraining, agree
from tests.sparse.truth import (
    assert_one_truth,
    moved_values,
    state_of,
    stock_copy,
    toy_training,
    with_values,
)
from tests.toys import toy_batch, toy_loss

# Torch's own attention goes through vmap image by image, and says so.
slow_attention = pytest.mark.filterwarnings('ignore:There is a performance drop:UserWarning')


def compact_names(training: SparseTraining) -> dict[str, str]:
    """The parameter's name of each weight's compact values."""
    return {name: f'{name}_values' for name in training.weights}


def assert_untouched(training: SparseTraining, before: dict[str, Tensor]) -> None:
    values = training.precise_values()
    for name, weight in training.weights.items():
        entries = torch.take(before[name], weight.entries.storage_index())
        assert torch.equal(values[name], entries), name
    assert_one_truth(training.model, before)


@pytest.mark.parametrize('weights_too', [True, False])
def test_a_functional_call_uses_its_values_and_writes_nothing(
    training: SparseTraining, weights_too: bool
) -> None:
    model = training.model.eval()
    before = state_of(model)
    moved = moved_values(training, 0.5)
    given = {compact_names(training)[name]: value for name, value in moved.items()}
    if weights_too:
        own = dict(model.named_parameters())
        given |= {name: own[name].detach().clone() for name in training.weights}
    copies = {name: tensor.clone() for name, tensor in given.items()}
    images = toy_batch()[0]
    expected = stock_copy(with_values(before, training, moved))(images)
    for context in (torch.enable_grad(), torch.no_grad()):
        with context:
            torch.testing.assert_close(
                functional_call(model, given, (images,)), expected, rtol=1e-5, atol=1e-6
            )
    assert all(torch.equal(given[name], copies[name]) for name in given)
    assert_untouched(training, before)


def test_gradients_reach_the_arguments_of_a_functional_call(training: SparseTraining) -> None:
    model = training.model.eval()
    before = state_of(model)
    moved = moved_values(training, 0.5)
    images, labels = toy_batch()
    given = {
        compact_names(training)[name]: value.clone().requires_grad_()
        for name, value in moved.items()
    }
    torch.nn.functional.cross_entropy(functional_call(model, given, (images,)), labels).backward()
    stock = stock_copy(with_values(before, training, moved))
    toy_loss(stock, images, labels).backward()
    dense = dict(stock.named_parameters())
    for name, weight in training.weights.items():
        gradient = dense[name].grad
        assert gradient is not None
        expected = torch.take(gradient, weight.entries.storage_index())
        got = given[f'{name}_values'].grad
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
        assert weight.values.grad is None
    assert_untouched(training, before)


def test_a_whole_state_handed_in_is_used_as_it_is(training: SparseTraining) -> None:
    model = training.model.eval()
    before = state_of(model)
    other = {name: t + 0.5 if t.is_floating_point() else t for name, t in before.items()}
    images = toy_batch()[0]
    torch.testing.assert_close(
        functional_call(model, other, (images,)), stock_copy(other)(images), rtol=1e-5, atol=1e-5
    )
    assert_untouched(training, before)


@slow_attention
def test_a_transform_gives_the_gradient_at_each_image(training: SparseTraining) -> None:
    model = training.model.train()
    before = state_of(model)
    images, labels = toy_batch(3)
    own = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}

    def loss(trained: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, trained, (image[None],))
        return torch.nn.functional.cross_entropy(logits, label[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))(own, images, labels)
    for place in range(3):
        model.zero_grad()
        loss_here = torch.nn.functional.cross_entropy(
            model(images[place : place + 1]), labels[place : place + 1]
        )
        loss_here.backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                torch.testing.assert_close(
                    each[name][place], parameter.grad, rtol=1e-3, atol=1e-5, msg=name
                )
    model.zero_grad()
    assert_untouched(training, before)


@slow_attention
def test_vmap_over_images_is_right_and_trains(training: SparseTraining) -> None:
    model = training.model.train()
    images = toy_batch(3)[0]
    with torch.no_grad():
        training.weights['linear.weight'].values.add_(0.25)
    several = vmap(lambda image: model(image[None])[0])(images)
    torch.testing.assert_close(several, model(images), rtol=1e-4, atol=1e-5)
    several.square().sum().backward()
    got = {n: p.grad for n, p in training.named_parameters().items()}
    model.zero_grad()
    model(images).square().sum().backward()
    for name, parameter in training.named_parameters().items():
        torch.testing.assert_close(got[name], parameter.grad, rtol=1e-3, atol=1e-4, msg=name)


@slow_attention
def test_an_ensemble_under_vmap_is_each_of_its_models(training: SparseTraining) -> None:
    models = [copy.deepcopy(training.model).train() for _ in range(3)]
    for place, model in enumerate(models):
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.1 * place)
    parameters, buffers = stack_module_state(models)
    before, images = state_of(training.model), toy_batch(2)[0]

    def call(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return functional_call(training.model.train(), (parameters, buffers), (images,))

    several = vmap(call)(parameters, buffers)
    for place, model in enumerate(models):
        torch.testing.assert_close(several[place], model(images), rtol=1e-4, atol=1e-5)
    assert_one_truth(training.model, before)


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures('fresh_compiler')
@pytest.mark.parametrize('engine', ['auto', 'dense'])
def test_a_compiled_model_refuses_what_it_cannot_take_over(engine: str) -> None:
    training = toy_training(engine)
    training.model.eval()
    images, weight = toy_batch()[0], training.weights['linear.weight']
    compiled: Any = torch.compile(training.model, backend='aot_eager', fullgraph=True)
    for written in (weight.values, weight.weight):
        before = compiled(images)
        torch.testing.assert_close(before, training.model(images), rtol=1e-5, atol=1e-6)
        written.data.add_(0.5)
        with pytest.raises(Exception, match='written outside an optimizer step'):
            compiled(images)
        agree(training.model)
        after = compiled(images)
        assert not torch.equal(after, before)
        torch.testing.assert_close(after, training.model(images), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures('fresh_compiler')
def test_a_compiled_functional_call_writes_nothing_into_the_model() -> None:
    training = toy_training()
    model = training.model.eval()
    before, images = state_of(model), toy_batch()[0]
    moved = moved_values(training, 0.5)
    given = {compact_names(training)[name]: value for name, value in moved.items()}

    def call(given: dict[str, Tensor], images: Tensor) -> Tensor:
        return functional_call(model, given, (images,))

    compiled: Any = torch.compile(call, backend='aot_eager')
    expected = stock_copy(with_values(before, training, moved))(images)
    torch.testing.assert_close(compiled(given, images), expected, rtol=1e-5, atol=1e-6)
    assert_untouched(training, before)
