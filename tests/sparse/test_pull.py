"""The pull toward the values that a model started from."""

import copy

import pytest
import torch
from torch import Tensor, nn

from gps_seg.selection import neuron, random, selectable_weights
from gps_seg.sparse import attach_pull, detach_pull, is_sparse, make_sparse, pull_loss, restore
from tests.toys import ToyNet, toy_batch, toy_loss


class Losses(ToyNet):
    """Gives a dict of losses when asked for them, as the models of MMEngine do."""

    def forward(self, inputs: Tensor, data_samples: object = None, mode: str = 'tensor'):  # type: ignore[no-untyped-def]
        logits = super().forward(inputs)
        return {'loss_ce': logits.square().mean()} if mode == 'loss' else logits


def pulled(coefficient: float = 0.5, model: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    model = model or ToyNet()
    weights = selectable_weights(model, without=['head.weight'])
    make_sparse(model, neuron(random(weights), k=2), whole=['head.weight', 'head.bias'])
    return attach_pull(model, coefficient=coefficient, without=['head.bias'])


def move(model: nn.Module, steps: int = 2) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        toy_loss(model, *toy_batch()).backward()
        optimizer.step()


def squared_distance(model: nn.Module, base: dict[str, Tensor]) -> float:
    state = model.state_dict()
    return sum(
        float((state[name].double() - base[name].double()).square().sum())
        for name, _ in ToyNet().named_parameters()
        if name != 'head.bias'
    )


def test_the_pull_is_the_squared_distance_of_selected_entries_and_whole_tensors() -> None:
    model = pulled(coefficient=0.5)
    base = copy.deepcopy(model.state_dict())
    assert pull_loss(model).item() == 0
    move(model)
    assert pull_loss(model).item() == pytest.approx(0.5 * squared_distance(model, base), rel=1e-5)


def test_the_pull_has_the_gradient_of_a_square_at_compact_values() -> None:
    model = pulled(coefficient=0.5)
    start = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    move(model)
    model.zero_grad()
    pull_loss(model).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and name != 'head.bias':
            assert parameter.grad is not None
            assert torch.allclose(parameter.grad, parameter.detach() - start[name], atol=1e-7)
    assert model.get_parameter('head.bias').grad is None


def test_the_pull_leaves_no_trace_in_the_state_dict_and_goes_with_restore() -> None:
    model = pulled()
    assert list(model.state_dict()) == list(ToyNet().state_dict())
    restore(model)
    assert not model._forward_hooks
    assert not is_sparse(model)
    with pytest.raises(ValueError, match='call attach_pull'):
        pull_loss(model)


def test_a_dict_of_losses_gets_the_pull_and_nothing_else_does() -> None:
    model = pulled(model=Losses())
    move(model)
    images = toy_batch()[0]
    losses = model(images, None, 'loss')
    assert losses.keys() == {'loss_ce', 'loss_pull'}
    assert torch.equal(losses['loss_pull'], pull_loss(model))
    assert model(inputs=images, mode='loss').keys() == losses.keys()
    assert isinstance(model(images), Tensor)
    detach_pull(model)
    assert model(images, mode='loss').keys() == {'loss_ce'}


def test_a_copy_is_pulled_by_its_own_values() -> None:
    model = pulled(model=Losses())
    twin = copy.deepcopy(model)
    move(twin)
    assert pull_loss(model).item() == 0
    assert pull_loss(twin).item() > 0
    assert torch.equal(twin(toy_batch()[0], mode='loss')['loss_pull'], pull_loss(twin))
    restore(twin)
    assert 'loss_pull' in model(toy_batch()[0], mode='loss')
    assert 'loss_pull' not in twin(toy_batch()[0], mode='loss')


def test_loading_weights_moves_the_model_and_not_what_it_is_pulled_to() -> None:
    model, other = pulled(), pulled()
    base = copy.deepcopy(model.state_dict())
    move(other)
    model.load_state_dict(other.state_dict())
    assert pull_loss(model).item() == pytest.approx(0.5 * squared_distance(other, base), rel=1e-5)


def test_a_low_precision_model_is_pulled_in_full_precision() -> None:
    model = pulled(model=ToyNet().bfloat16())
    assert pull_loss(model).dtype == torch.float32


def test_a_pull_of_nothing_or_without_strength_is_refused() -> None:
    model = ToyNet()
    with pytest.raises(ValueError, match='must be above 0, got 0'):
        attach_pull(model, coefficient=0)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match='nothing to pull'):
        attach_pull(model, coefficient=1)
