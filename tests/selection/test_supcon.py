"""The contrastive loss, its chunked backward pass, and the scores of a pass."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gps_seg.selection import (
    Budget,
    Magnitude,
    Random,
    Scores,
    SupconGradient,
    neuron,
    neuron_matrix,
    score,
    selectable_weights,
    supcon_backward,
    supcon_loss,
)
from tests.toys import ToyNet, toy_batch


def loss_in_numpy(embeddings: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """The equation, anchor by anchor, in float64."""
    z = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    losses = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        if positives:
            denominator = sum(np.exp(z[i] @ z[a] / temperature) for a in others)
            terms = [np.log(np.exp(z[i] @ z[p] / temperature) / denominator) for p in positives]
            losses.append(-np.mean(terms))
    return float(np.mean(losses)) if losses else 0.0


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))
def test_the_loss_is_the_published_equation(n: int, dim: int, classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(n, dim, generator=generator)
    labels = torch.randint(classes, (n,), generator=generator)
    expected = loss_in_numpy(embeddings.double().numpy(), labels.numpy(), 0.5)
    assert supcon_loss(embeddings, labels, temperature=0.5).item() == pytest.approx(
        expected, rel=1e-4, abs=1e-5
    )


def test_without_positives_the_loss_is_zero_and_its_gradient_finite() -> None:
    embeddings = torch.randn(3, 4, requires_grad=True)
    loss = supcon_loss(embeddings, torch.tensor([0, 1, 2]))
    loss.backward()
    assert loss.item() == 0
    assert embeddings.grad is not None
    assert torch.equal(embeddings.grad, torch.zeros(3, 4))


def test_an_anchor_without_positives_does_not_enter_the_mean() -> None:
    embeddings = torch.randn(5, 4)
    labels = torch.tensor([0, 0, 1, 1, 2])
    expected = loss_in_numpy(embeddings.double().numpy(), labels.numpy(), 0.07)
    assert supcon_loss(embeddings, labels).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('size', [1, 2, 5])
def test_chunked_backward_equals_the_direct_computation(size: int) -> None:
    model = ToyNet().double().eval()
    images, labels = toy_batch(10)
    images = images.double()
    supcon_loss(model.features(images), labels).backward()
    direct = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    chunks = list(zip(images.split(size), labels.split(size), strict=True))
    supcon_backward(chunks, lambda chunk: (model.features(chunk[0]), chunk[1]))
    for name, expected in direct.items():
        got = model.get_parameter(name).grad
        assert got is not None
        assert torch.allclose(got, expected, rtol=1e-5, atol=1e-9), name


def test_the_memory_of_the_chunked_pass_is_that_of_one_chunk() -> None:
    model = ToyNet().eval()
    alive = peak = 0

    class Saved:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal alive, peak
            self.tensor = tensor
            alive += tensor.nbytes
            peak = max(peak, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= self.tensor.nbytes

    def run(num: int) -> int:
        nonlocal alive, peak
        alive = peak = 0
        images, labels = toy_batch(num)
        chunks = list(zip(images.split(2), labels.split(2), strict=True))
        with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
            supcon_backward(chunks, lambda chunk: (model.features(chunk[0]), chunk[1]))
        return peak

    small, large = run(4), run(24)
    # The loss itself holds N x N and N x D, which are tiny here.
    assert large < 1.5 * small


def embed(model: ToyNet):  # type: ignore[no-untyped-def]
    return lambda chunk: (model.features(chunk[0]), chunk[1])


def test_signed_gradients_are_summed_over_batches_before_their_size_is_taken() -> None:
    model = ToyNet()
    weights = selectable_weights(model, without=('head.weight',))
    batches = [[toy_batch(6, seed=seed)] for seed in range(3)]
    scores = score(model, SupconGradient(weights, embed(model)), batches)
    model.eval()
    total: dict[str, Tensor] = {}
    for ((images, labels),) in batches:
        model.zero_grad()
        supcon_loss(model.features(images), labels).backward()
        for weight in weights:
            assert weight.parameter.grad is not None
            total[weight.name] = total.get(weight.name, torch.zeros(())) + weight.parameter.grad
    for weight in weights:
        expected = neuron_matrix(total[weight.name].abs(), weight.transposed_groups)
        assert torch.allclose(scores[weight.name], expected, rtol=1e-4, atol=1e-7), weight.name


def test_the_pass_leaves_everything_as_found() -> None:
    model = ToyNet()
    model.train()
    model.linear.eval()
    model.stem.weight.requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random_state = torch.get_rng_state()
    modes = [module.training for module in model.modules()]
    score(model, SupconGradient(selectable_weights(model), embed(model)), [[toy_batch()]])
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [module.training for module in model.modules()] == modes
    assert not model.stem.weight.requires_grad
    assert torch.equal(model.head.weight.grad, torch.ones_like(model.head.weight))
    assert model.linear.weight.grad is None
    assert all(torch.equal(model.state_dict()[name], state[name]) for name in state)
    assert all(not module._forward_hooks for module in model.modules())


def test_the_pass_is_deterministic_and_ignores_dropout() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 4))
    model.train()
    batch = (torch.randn(8, 4), torch.arange(8) % 2)

    def scores() -> Scores:
        criterion = SupconGradient(
            selectable_weights(model), lambda chunk: (model(chunk[0]), chunk[1])
        )
        return score(model, criterion, [[batch]])

    first, second = scores(), scores()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_pass_without_images_is_refused() -> None:
    model = ToyNet()
    with pytest.raises(ValueError, match='saw no images'):
        score(model, SupconGradient(selectable_weights(model), embed(model)), [])


def test_scores_that_are_not_finite_are_refused() -> None:
    model = ToyNet()
    images, labels = toy_batch()
    images[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match='not finite'):
        score(model, SupconGradient(selectable_weights(model), embed(model)), [[(images, labels)]])


@pytest.mark.parametrize('k', [1, 3])
def test_each_neuron_gets_its_k_largest_inputs(k: int) -> None:
    scores = Magnitude(selectable_weights(ToyNet())).scores()
    selection = neuron(scores, Budget(k=k))
    for name, matrix in scores.items():
        mask = selection[name].mask()
        assert (mask.sum(1) == min(k, matrix.shape[1])).all()
        for row, chosen in zip(matrix.numpy(), mask.numpy(), strict=True):
            expected = np.sort(row)[::-1][: mask.sum(1)[0]]
            assert np.array_equal(np.sort(row[chosen])[::-1], expected)


def test_k_above_the_fan_in_takes_all_inputs() -> None:
    selection = neuron(Magnitude(selectable_weights(nn.Linear(3, 2))).scores(), Budget(k=5))
    assert selection['weight'].mask().all()


def test_k_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match='at least 1, got 0'):
        neuron(Magnitude(selectable_weights(nn.Linear(3, 2))).scores(), Budget(k=0))


def test_random_scores_repeat_for_a_seed_and_differ_between_layers() -> None:
    model = nn.Sequential(nn.Linear(50, 50), nn.Linear(50, 50))
    weights = selectable_weights(model)
    first, again, other = (Random(weights, seed=seed).scores() for seed in (0, 0, 1))
    assert torch.equal(first['0.weight'], again['0.weight'])
    assert not torch.equal(first['0.weight'], other['0.weight'])
    assert not torch.equal(first['0.weight'], first['1.weight'])
    alone = Random(weights[1:]).scores()
    assert torch.equal(alone['1.weight'], first['1.weight'])
