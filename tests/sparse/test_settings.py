"""The compact gradients are right in every setting in which models are trained."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gps_seg.selection import Budget, Random, neuron, selectable_weights
from gps_seg.sparse import make_sparse
from tests.toys import ToyNet, toy_batch, toy_loss


def converted(engine: str) -> ToyNet:
    torch.manual_seed(0)
    model = ToyNet()
    selection = neuron(Random(selectable_weights(model), seed=1).scores(), Budget(k=2))
    make_sparse(model, selection, whole=['head.bias', 'linear.bias'], engine=engine)
    return model


@pytest.fixture(params=['auto', 'block', 'dense'])
def model(request: pytest.FixtureRequest) -> ToyNet:
    return converted(request.param)


def gradients(model: nn.Module, loss: Callable[[], Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    loss().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_equal(got: dict[str, Tensor], expected: dict[str, Tensor], rtol: float = 1e-5) -> None:
    assert got.keys() == expected.keys()
    assert len(expected) >= 10
    for name, gradient in expected.items():
        error = (got[name] - gradient).norm()
        assert error <= rtol * gradient.norm() + 1e-8, name


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures('fresh_compiler')
def test_compiling_breaks_no_graph_and_gives_the_same_gradients(model: ToyNet) -> None:
    images, labels = toy_batch()
    expected = gradients(model, lambda: toy_loss(model, images, labels))
    compiled: Any = torch.compile(model, backend='aot_eager', fullgraph=True)
    assert_equal(gradients(model, lambda: toy_loss(compiled, images, labels)), expected)


@pytest.mark.usefixtures('fresh_compiler')
def test_a_compiled_model_follows_the_optimizer(model: ToyNet) -> None:
    images, labels = toy_batch()
    twin = copy.deepcopy(model)
    compiled: Any = torch.compile(model, backend='aot_eager', fullgraph=True)
    for trained in (compiled, twin):
        optimizer = torch.optim.SGD([p for p in trained.parameters() if p.requires_grad], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            toy_loss(trained, images, labels).backward()
            optimizer.step()
    for name, tensor in twin.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, msg=name)


def test_activation_checkpointing_gives_the_same_gradients(model: ToyNet) -> None:
    images, labels = toy_batch()
    expected = gradients(model, lambda: toy_loss(model, images, labels))

    def loss() -> Tensor:
        features = checkpoint(model.features, images, use_reentrant=False)
        return nn.functional.cross_entropy(model.head(features), labels)

    assert_equal(gradients(model, loss), expected)


def test_accumulated_gradients_are_those_of_the_whole_batch(model: ToyNet) -> None:
    images, labels = toy_batch(6)
    expected = gradients(model, lambda: toy_loss(model, images, labels))
    model.zero_grad()
    for part in (slice(0, 3), slice(3, 6)):
        (toy_loss(model, images[part], labels[part]) / 2).backward()
    got = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert_equal(got, expected)


def test_clipping_counts_the_trained_entries_alone(model: ToyNet) -> None:
    images, labels = toy_batch()
    expected = gradients(model, lambda: toy_loss(model, images, labels))
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    total = torch.stack([gradient.norm() for gradient in expected.values()]).norm()
    torch.testing.assert_close(norm, total)


def test_autocast_gives_the_gradients_to_its_precision_in_fp32(model: ToyNet) -> None:
    images, labels = toy_batch()
    expected = gradients(model, lambda: toy_loss(model, images, labels))

    def loss() -> Tensor:
        with torch.autocast('cpu', torch.bfloat16):
            return toy_loss(model, images, labels)

    got = gradients(model, loss)
    assert {gradient.dtype for gradient in got.values()} == {torch.float32}
    assert_equal(got, expected, rtol=0.1)


def saved_tensors(run: Callable[[], Any], context: AbstractContextManager) -> list[Tensor]:
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), context:
        run()
    return kept


@pytest.mark.parametrize('engine', ['auto', 'sampled', 'block'])
@pytest.mark.parametrize('dtype', [None, torch.bfloat16])
def test_nothing_weight_shaped_is_saved_besides_the_parameters(
    engine: str, dtype: torch.dtype | None
) -> None:
    model = converted(engine)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    # What another module reads past a layer's forward is cast outside our reach under autocast.
    bypassed = {(12, 8)} if dtype else set()
    shapes = {tuple(p.shape) for p in model.parameters() if p.dim() > 1} - bypassed
    shapes |= {shape[::-1] for shape in shapes if len(shape) == 2}
    images, labels = toy_batch(7)  # no activation has the shape of a weight
    context = torch.autocast('cpu', dtype or torch.bfloat16, enabled=dtype is not None)
    kept = saved_tensors(lambda: toy_loss(model, images, labels), context)
    copies = [
        tuple(tensor.shape)
        for tensor in kept
        if tuple(tensor.shape) in shapes and tensor.untyped_storage().data_ptr() not in own
    ]
    assert len(kept) > 20
    assert copies == []
