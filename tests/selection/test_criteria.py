"""Every criterion against NumPy in float64, on a network of two layers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gps_seg.selection import (
    CRITERIA,
    Scores,
    SelectableWeight,
    WeightActivation,
    score,
    selectable_weights,
)

Batch = tuple[Tensor, Tensor]
Array = np.ndarray


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.first, self.second = nn.Linear(5, 7), nn.Linear(7, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(images)))


def batches(num: int = 3, size: int = 6) -> list[list[Batch]]:
    generator = torch.Generator().manual_seed(2)
    images = [torch.randn(size, 5, generator=generator).double() for _ in range(num)]
    return [[(batch, torch.arange(size) % 3)] for batch in images]


def chunked(whole: list[list[Batch]], size: int) -> list[list[Batch]]:
    return [
        list(zip(images.split(size), labels.split(size), strict=True))
        for ((images, labels),) in whole
    ]


def look_of(model: nn.Module, criterion: str) -> Callable[[Batch], Any]:
    if CRITERIA[criterion].needs == 'loss':
        return lambda batch: F.cross_entropy(model(batch[0]), batch[1])
    return lambda batch: (model(batch[0]), batch[1])


def arrays(model: TwoLayers) -> tuple[Array, Array, Array, Array]:
    return tuple(p.detach().numpy() for p in model.parameters())  # type: ignore[return-value]


def outputs(model: TwoLayers, images: Array) -> tuple[Array, Array]:
    first, first_bias, second, second_bias = arrays(model)
    hidden = np.tanh(images @ first.T + first_bias)
    return hidden, hidden @ second.T + second_bias


def back(model: TwoLayers, images: Array, grad: Array) -> dict[str, Array]:
    """The chain rule, from the gradient at the outputs to that of the two weights."""
    hidden, _ = outputs(model, images)
    second = arrays(model)[2]
    inner = (grad @ second) * (1 - hidden**2)
    return {'first.weight': inner.T @ images, 'second.weight': grad.T @ hidden}


def cross_entropy_gradient(model: TwoLayers, batch: Batch) -> dict[str, Array]:
    images, labels = batch[0].numpy(), batch[1].numpy()
    logits = outputs(model, images)[1]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return back(model, images, (shares - np.eye(3)[labels]) / len(labels))


def supcon(z: Array, labels: Array, temperature: float) -> float:
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    losses = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        everyone = np.log(sum(np.exp(z[i] @ z[a] / temperature) for a in others))
        same = [z[i] @ z[p] / temperature - everyone for p in others if labels[p] == labels[i]]
        losses.append(-np.mean(same))
    return float(np.mean(losses))


def supcon_gradient_in_numpy(model: TwoLayers, batch: Batch, temperature: float) -> Any:
    images, labels = batch[0].numpy(), batch[1].numpy()
    z = outputs(model, images)[1]
    grad = np.zeros_like(z)
    for place in np.ndindex(*z.shape):
        step = np.zeros_like(z)
        step[place] = 1e-5
        rise = supcon(z + step, labels, temperature) - supcon(z - step, labels, temperature)
        grad[place] = rise / 2e-5
    return back(model, images, grad)


def assert_scores(scores: Scores, expected: Mapping[str, Array]) -> None:
    assert scores.keys() == expected.keys()
    for name, matrix in scores.items():
        largest = np.abs(expected[name]).max()
        np.testing.assert_allclose(matrix.numpy(), expected[name], atol=1e-6 * largest, rtol=0)


def scores_of(model: nn.Module, criterion: str, images: Any, **settings: Any) -> Scores:
    look = look_of(model, criterion)
    return score(model, CRITERIA[criterion](selectable_weights(model), look, **settings), images)


def test_the_contrastive_gradient_is_summed_with_its_sign() -> None:
    model = TwoLayers()
    scores = scores_of(model, 'supcon_gradient', batches(), temperature=0.5)
    parts = [supcon_gradient_in_numpy(model, batch, 0.5) for (batch,) in batches()]
    assert_scores(scores, {name: np.abs(sum(part[name] for part in parts)) for name in parts[0]})


@pytest.mark.parametrize('size', [6, 4, 1])
def test_the_task_gradient_is_summed_with_its_sign_in_chunks_of_any_size(size: int) -> None:
    model = TwoLayers()
    scores = scores_of(model, 'task_gradient', chunked(batches(), size))
    parts = [cross_entropy_gradient(model, batch) for (batch,) in batches()]
    assert_scores(scores, {name: np.abs(sum(part[name] for part in parts)) for name in parts[0]})


@pytest.mark.parametrize('size', [6, 4])
def test_squared_gradients_of_the_batches_do_not_cancel(size: int) -> None:
    model = TwoLayers()
    scores = scores_of(model, 'squared_gradient', chunked(batches(), size))
    parts = [cross_entropy_gradient(model, batch) for (batch,) in batches()]
    assert_scores(
        scores, {name: np.sum([part[name] ** 2 for part in parts], axis=0) for name in parts[0]}
    )


@pytest.mark.parametrize('size', [6, 4])
def test_the_square_of_the_summed_gradient_is_the_other_reading(size: int) -> None:
    model = TwoLayers()
    scores = scores_of(model, 'squared_gradient', chunked(batches(), size), squares='of_sum')
    parts = [cross_entropy_gradient(model, batch) for (batch,) in batches()]
    assert_scores(
        scores, {name: np.sum([part[name] for part in parts], axis=0) ** 2 for name in parts[0]}
    )


def test_another_kind_of_squares_is_refused() -> None:
    with pytest.raises(ValueError, match="one of of_batches, of_sum, got 'of_images'"):
        CRITERIA['squared_gradient']([], lambda batch: batch, squares='of_images')


def test_weight_times_activation_is_the_mean_over_samples() -> None:
    model = TwoLayers()
    scores = scores_of(model, 'weight_activation', chunked(batches(), 4))
    images = np.concatenate([batch[0].numpy() for (batch,) in batches()])
    first, _, second, _ = arrays(model)
    expected = {
        'first.weight': np.abs(first) * np.abs(images).mean(0),
        'second.weight': np.abs(second) * np.abs(outputs(model, images)[0]).mean(0),
    }
    assert_scores(scores, expected)


def test_magnitude_is_the_size_of_the_weight() -> None:
    model = TwoLayers()
    first, _, second, _ = arrays(model)
    expected = {'first.weight': np.abs(first), 'second.weight': np.abs(second)}
    assert_scores(scores_of(model, 'magnitude', []), expected)


def test_a_weight_that_the_loss_does_not_reach_scores_zero() -> None:
    model = TwoLayers()
    criterion = CRITERIA['supcon_gradient'](
        selectable_weights(model), lambda b: (model.first(b[0]), b[1])
    )
    scores = score(model, criterion, batches())
    assert scores['first.weight'].any()
    assert not scores['second.weight'].any()


def test_tables_have_no_activation_to_score() -> None:
    table = SelectableWeight('positions', nn.Parameter(torch.ones(1, 4, 2)), table=True)
    assert table.matrix(table.parameter).shape == (4, 2)
    with pytest.raises(ValueError, match='positions multiplies no activation'):
        WeightActivation([table], nn.Identity())


@pytest.mark.parametrize('criterion', CRITERIA)
def test_a_criterion_that_looks_at_images_asks_for_its_function(criterion: str) -> None:
    weights = selectable_weights(TwoLayers())
    needs = CRITERIA[criterion].needs
    if needs == 'nothing':
        CRITERIA[criterion](weights)
        return
    with pytest.raises(ValueError, match=rf'give {needs}\(micro_batch\)'):
        CRITERIA[criterion](weights)


@pytest.mark.parametrize('criterion', CRITERIA)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_a_low_precision_model_is_scored_in_full_precision(
    criterion: str, dtype: torch.dtype
) -> None:
    model = TwoLayers().to(dtype)
    low = [[(images.to(dtype), labels)] for ((images, labels),) in batches()]
    scores = scores_of(model, criterion, low)
    assert {matrix.dtype for matrix in scores.values()} == {torch.float32}


class Reads(nn.Module):
    """A layer whose gradient is exactly its input, and whose input is exact in bf16."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4, bias=False, dtype=dtype)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images)


NUM_LONG, WEIGHING = 600, np.array([1.0, -2.0, 0.5, 4.0])


def long_batches(dtype: torch.dtype) -> tuple[list[list[Batch]], Array]:
    """Many batches of two micro-batches of one image each, and the images (num, 2, 6)."""
    images = np.random.default_rng(0).integers(-6, 14, (NUM_LONG, 2, 6)).astype(np.float64)
    label = torch.zeros(1, dtype=torch.int64)
    made = [
        [(torch.from_numpy(image)[None].to(dtype), label) for image in batch] for batch in images
    ]
    return made, images


def weighed(model: nn.Module) -> Callable[[Batch], Tensor]:
    """A loss whose gradient at the layer's output is WEIGHING."""
    return lambda batch: (model(batch[0]) * torch.from_numpy(WEIGHING).to(batch[0])).sum()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize(
    'criterion, settings',
    [('task_gradient', {}), ('squared_gradient', {}), ('squared_gradient', {'squares': 'of_sum'})],
    ids=['signed', 'squares of batches', 'square of the sum'],
)
def test_a_long_sum_loses_nothing_whatever_the_type_of_the_weights(
    criterion: str, settings: dict[str, Any], dtype: torch.dtype
) -> None:
    model = Reads(dtype)
    made, images = long_batches(dtype)
    rule = CRITERIA[criterion](selectable_weights(model), weighed(model), **settings)
    scores = score(model, rule, made)
    of_batches = WEIGHING[:, None] * images.mean(1)[:, None]
    total = of_batches.sum(0)
    expected = {
        'task_gradient': np.abs(total),
        'squared_gradient': total**2 if settings else (of_batches**2).sum(0),
    }[criterion]
    # A sum in bf16 is wrong by far more than a hundredth here.
    np.testing.assert_allclose(scores['layer.weight'].numpy(), expected, rtol=1e-6)


def test_a_contrastive_gradient_of_a_bf16_model_is_that_of_float64() -> None:
    low, exact = TwoLayers().bfloat16(), TwoLayers()
    exact.load_state_dict(low.state_dict())
    many = batches(num=200)
    rounded = [[(images.bfloat16(), labels)] for ((images, labels),) in many]
    widened = [[(images.double(), labels)] for ((images, labels),) in rounded]
    got = scores_of(low, 'supcon_gradient', chunked(rounded, 2), temperature=0.5)
    parts = [supcon_gradient_in_numpy(exact, batch, 0.5) for (batch,) in widened]
    for name, matrix in got.items():
        expected = np.abs(sum(part[name] for part in parts))
        # Each gradient is rounded; their sum is not.
        assert np.abs(matrix.numpy() - expected).max() < 0.02 * expected.max()
