"""When a selection pass may end early."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra import numpy as hnp
from torch import Tensor

from gps_seg.selection import (
    Budget,
    Entries,
    Scores,
    Selection,
    SupconGradient,
    UntilStable,
    agreement,
    neuron,
    score,
    selectable_weights,
)
from tests.toys import ToyNet, toy_batch

Batch = tuple[Tensor, Tensor]
Stop = Callable[[Callable[[], Scores]], bool]


def chosen(*columns: int) -> Selection:
    """A selection of one entry in each of the rows of a weight with 10 inputs."""
    shape = (len(columns), 10)
    return Selection({'w': Entries(torch.tensor(columns), torch.ones(shape[0]).long(), shape)})


def some_scores() -> Scores:
    return Scores({'w': torch.ones(1, 1)}, {})


@given(hnp.arrays(bool, (4, 7)), hnp.arrays(bool, (4, 7)))
def test_agreement_is_the_share_of_common_entries(one: np.ndarray, other: np.ndarray) -> None:
    selections = [
        Selection({'w': Entries.from_mask(torch.from_numpy(mask), (4, 7))}) for mask in (one, other)
    ]
    total = one.sum() + other.sum()
    expected = 2 * (one & other).sum() / total if total else 1.0
    assert agreement(*selections) == pytest.approx(expected)


def test_the_pass_ends_once_two_selections_in_a_row_agree_enough() -> None:
    # One, two and three of four rows as before.
    steps = [chosen(0, 0, 0, 0), chosen(0, 1, 1, 1), chosen(0, 1, 2, 2), chosen(0, 1, 2, 3)]
    reported: list[float] = []
    stop = UntilStable(lambda scores: steps.pop(0), threshold=0.75, every=1, report=reported.append)
    assert [stop(some_scores) for _ in range(4)] == [False, False, False, True]
    assert reported == [0.25, 0.5, 0.75]
    assert stop.last_agreement == 0.75


def test_only_every_nth_batch_is_compared_and_costs_anything() -> None:
    asked = []

    def scores() -> Scores:
        asked.append(True)
        return some_scores()

    stop = UntilStable(lambda scores: chosen(1), threshold=1.0, every=3)
    assert [stop(scores) for _ in range(6)] == [False] * 5 + [True]
    assert len(asked) == 2


@pytest.mark.parametrize('threshold', [0.0, -0.1, 1.01])
def test_an_agreement_that_cannot_be_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=rf'in \(0, 1\], got {threshold}'):
        UntilStable(lambda scores: chosen(1), threshold=threshold)


def test_comparing_after_every_zero_batches_is_refused() -> None:
    with pytest.raises(ValueError, match='at least 1 batch, got 0'):
        UntilStable(lambda scores: chosen(1), threshold=0.5, every=0)


def supcon(model: ToyNet, batches: Iterator[list[Batch]], stop: Stop | None) -> Scores:
    weights = selectable_weights(model, without=['head.weight'])
    criterion = SupconGradient(weights, lambda b: (model.features(b[0]), b[1]))
    return score(model, criterion, batches, stop=stop)


def test_a_pass_that_is_stopped_scores_the_batches_it_saw() -> None:
    model = ToyNet()
    seen: list[int] = []
    so_far: list[Scores] = []

    def batches(num: int) -> Iterator[list[Batch]]:
        for number in range(num):
            seen.append(number)
            yield [toy_batch(seed=number)]

    def after_two(scores: Callable[[], Scores]) -> bool:
        so_far.append(scores())
        return len(so_far) == 2

    stopped = supcon(model, batches(5), after_two)
    assert seen == [0, 1]
    expected = supcon(model, batches(2), None)
    first = supcon(model, batches(1), None)
    for name in expected:
        assert torch.equal(stopped[name], expected[name])
        assert torch.equal(so_far[0][name], first[name])  # not changed by the batches after it


def test_images_that_repeat_are_stable_and_leave_the_rest_unseen() -> None:
    model = ToyNet()
    seen: list[int] = []

    def batches() -> Iterator[list[Batch]]:
        for number in range(9):
            seen.append(number)
            yield [toy_batch(seed=0)]

    stop = UntilStable(lambda scores: neuron(scores, Budget(k=2)), threshold=0.99, every=2)
    supcon(model, batches(), stop)
    assert len(seen) == 4
    assert stop.last_agreement is not None and stop.last_agreement >= 0.99


def test_nothing_is_compared_before_any_entry_has_a_score() -> None:
    asked = []

    def choose(scores: Scores) -> Selection:
        asked.append(scores)
        return chosen(1)

    stop = UntilStable(choose, threshold=1.0, every=1)
    nothing = Scores({'w': torch.zeros(1, 10)}, {})
    assert [stop(lambda: nothing) for _ in range(3)] == [False] * 3
    assert asked == []
    assert [stop(some_scores) for _ in range(2)] == [False, True]
