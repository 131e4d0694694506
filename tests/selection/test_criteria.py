"""Every criterion against NumPy on a network of two layers, and the doors of every pass."""

from collections.abc import Callable, Iterator, Mapping
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
    magnitude,
    selectable_weights,
    squared_gradient,
    supcon_gradient,
    task_gradient,
    weight_activation,
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
    if criterion in ('task_gradient', 'squared_gradient'):
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


def test_the_contrastive_gradient_is_summed_with_its_sign() -> None:
    model = TwoLayers()
    scores = supcon_gradient(
        model,
        selectable_weights(model),
        batches(),
        look_of(model, 'supcon_gradient'),
        temperature=0.5,
    )
    parts = [supcon_gradient_in_numpy(model, batch, 0.5) for (batch,) in batches()]
    assert_scores(scores, {name: np.abs(sum(part[name] for part in parts)) for name in parts[0]})


@pytest.mark.parametrize('size', [6, 4, 1])
def test_the_task_gradient_is_summed_with_its_sign_in_chunks_of_any_size(size: int) -> None:
    model = TwoLayers()
    scores = task_gradient(
        model,
        selectable_weights(model),
        chunked(batches(), size),
        look_of(model, 'task_gradient'),
    )
    parts = [cross_entropy_gradient(model, batch) for (batch,) in batches()]
    assert_scores(scores, {name: np.abs(sum(part[name] for part in parts)) for name in parts[0]})


@pytest.mark.parametrize('size', [6, 4])
def test_squared_gradients_of_the_batches_do_not_cancel(size: int) -> None:
    model = TwoLayers()
    scores = squared_gradient(
        model,
        selectable_weights(model),
        chunked(batches(), size),
        look_of(model, 'squared_gradient'),
    )
    parts = [cross_entropy_gradient(model, batch) for (batch,) in batches()]
    assert_scores(
        scores, {name: np.sum([p[name] ** 2 for p in parts], axis=0) for name in parts[0]}
    )


@pytest.mark.parametrize('anchored', [False, True])
def test_weight_times_activation_is_the_mean_over_samples(anchored: bool) -> None:
    model = TwoLayers()
    anchors = [[(images * 3 + 1, labels)] for ((images, labels),) in batches(num=2)]
    scores = weight_activation(
        model,
        selectable_weights(model),
        chunked(batches(), 4),
        look_of(model, 'weight_activation'),
        anchors=anchors if anchored else None,
    )

    def means(several: list[list[Batch]]) -> tuple[Array, Array]:
        images = np.concatenate([batch[0].numpy() for (batch,) in several])
        return np.abs(images).mean(0), np.abs(outputs(model, images)[0]).mean(0)

    seen, reference = means(batches()), means(anchors)
    ratios = [s / r if anchored else s for s, r in zip(seen, reference, strict=True)]
    first, _, second, _ = arrays(model)
    expected = {
        'first.weight': np.abs(first) * ratios[0],
        'second.weight': np.abs(second) * ratios[1],
    }
    assert_scores(scores, expected)


def test_an_input_that_the_anchors_never_excite_stays_finite() -> None:
    layer = nn.Linear(2, 1, bias=False)
    nn.init.ones_(layer.weight)
    anchor = [[torch.tensor([[1.0, 0.0]])]]
    scores = weight_activation(
        layer, selectable_weights(layer), [[torch.ones(1, 2)]], layer, anchors=anchor
    )
    assert scores['weight'].tolist() == [[1.0, pytest.approx(1000.0)]]


def test_magnitude_is_the_size_of_the_weight() -> None:
    model = TwoLayers()
    first, _, second, _ = arrays(model)
    expected = {'first.weight': np.abs(first), 'second.weight': np.abs(second)}
    assert_scores(magnitude(selectable_weights(model)), expected)


DATA_CRITERIA = ('supcon_gradient', 'task_gradient', 'squared_gradient', 'weight_activation')
each_pass = pytest.mark.parametrize('criterion', DATA_CRITERIA)


def score(criterion: str, images: Any, **doors: Any) -> Scores:
    model = TwoLayers()
    return CRITERIA[criterion](
        model, selectable_weights(model), images, look_of(model, criterion), **doors
    )


@each_pass
@pytest.mark.parametrize('first_share', [2, 3], ids=['two and one batch', 'three and none'])
def test_what_two_ranks_sum_up_is_what_one_process_sees(criterion: str, first_share: int) -> None:
    of_the_other: dict[str, Tensor] = {}

    def send(sums: Mapping[str, Tensor]) -> None:
        assert not of_the_other
        of_the_other.update({name: total.clone() for name, total in sums.items()})

    def add(sums: Mapping[str, Tensor]) -> None:
        assert sums.keys() == of_the_other.keys()
        for name, total in sums.items():
            total += of_the_other[name]

    # What this rank alone would say is of no interest, and an error where it saw nothing.
    try:
        score(criterion, batches()[first_share:], reduce=send)
    except ValueError:
        assert first_share == 3
    together = score(criterion, batches()[:first_share], reduce=add)
    whole = score(criterion, batches())
    for name, matrix in whole.items():
        assert torch.allclose(together[name], matrix, rtol=1e-9), name


@each_pass
def test_a_pass_ends_where_stop_says_so_and_shows_the_scores_so_far(criterion: str) -> None:
    loaded, so_far, told = [], [], []

    def images() -> Iterator[list[Batch]]:
        for number, batch in enumerate(batches()):
            loaded.append(number)
            yield batch

    def stop(scores: Callable[[], Scores]) -> bool:
        so_far.append(scores())
        return len(so_far) == 2

    result = score(criterion, images(), stop=stop, progress=lambda *about: told.append(about))
    assert loaded == [0, 1]
    assert [done for done, _ in told] == [1, 2]
    assert all((loss is None) == (criterion == 'weight_activation') for _, loss in told)
    for num, scores in ((1, so_far[0]), (2, so_far[1]), (2, result)):
        expected = score(criterion, batches()[:num])
        assert all(torch.equal(scores[name], expected[name]) for name in expected)


@each_pass
def test_without_images_a_pass_says_so(criterion: str) -> None:
    with pytest.raises(ValueError, match='saw no images'):
        score(criterion, [])


def test_a_weight_that_the_loss_does_not_reach_scores_zero() -> None:
    model = TwoLayers()
    scores = supcon_gradient(
        model, selectable_weights(model), batches(), lambda b: (model.first(b[0]), b[1])
    )
    assert scores['first.weight'].any()
    assert not scores['second.weight'].any()


def test_low_precision_gradients_are_scored_in_full_precision() -> None:
    model = TwoLayers().bfloat16()
    low = [[(images.bfloat16(), labels)] for ((images, labels),) in batches()]
    for criterion in DATA_CRITERIA:
        weights = selectable_weights(model)
        scores = CRITERIA[criterion](model, weights, low, look_of(model, criterion))
        assert {matrix.dtype for matrix in scores.values()} == {torch.float32}


def test_tables_have_no_activation_to_score() -> None:
    table = SelectableWeight('positions', nn.Parameter(torch.ones(1, 4, 2)), table=True)
    assert table.matrix(table.parameter).shape == (4, 2)
    with pytest.raises(ValueError, match='positions multiplies no activation'):
        weight_activation(nn.Identity(), [table], [[torch.ones(1)]], nn.Identity())
