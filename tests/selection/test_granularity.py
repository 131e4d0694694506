"""Budgets and rankings against a search written without them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gps_seg.selection import (
    GRANULARITIES,
    Budget,
    Scores,
    SelectableWeight,
    Selection,
    choose,
    net,
)
from gps_seg.selection.budget import share_out

Arrays = dict[str, np.ndarray]
sizes = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4)
seeds = st.integers(0, 2**31)


def scores_with(shapes: list[tuple[int, int]], seed: int, *, levels: int = 4) -> Scores:
    """Few distinct values, so that ties are common."""
    rng = np.random.default_rng(seed)
    weights, values = [], {}
    for number, shape in enumerate(shapes):
        name = f'w{number}'
        weights.append(SelectableWeight(name, nn.Parameter(torch.zeros(shape))))
        values[name] = torch.from_numpy(rng.integers(0, levels, shape).astype(np.float32))
    return Scores.of(weights, values)


def masks_of(selection: Selection, scores: Scores) -> Arrays:
    return {
        name: selection[name].mask().numpy()
        if name in selection
        else np.zeros(matrix.shape, dtype=bool)
        for name, matrix in scores.items()
    }


def assert_masks(selection: Selection, scores: Scores, expected: Arrays) -> None:
    got = masks_of(selection, scores)
    for name, mask in expected.items():
        np.testing.assert_array_equal(got[name], mask, err_msg=name)


def best_first(values: np.ndarray) -> np.ndarray:
    return np.argsort(-values, kind='stable')


@settings(max_examples=60, deadline=None)
@given(sizes, seeds, st.integers(1, 8))
def test_neuron_takes_the_best_inputs_of_each_and_of_equal_ones_the_first(
    shapes: list[tuple[int, int]], seed: int, k: int
) -> None:
    scores = scores_with(shapes, seed)
    expected = {}
    for name, matrix in scores.items():
        mask = np.zeros(matrix.shape, dtype=bool)
        for row, values in enumerate(matrix.numpy()):
            mask[row, best_first(values)[:k]] = True
        expected[name] = mask
    assert_masks(GRANULARITIES['neuron'](scores, Budget(k=k)), scores, expected)


@settings(max_examples=60, deadline=None)
@given(sizes, seeds, st.integers(1, 8))
def test_layer_takes_the_best_of_each_weight_as_many_as_neuron_does(
    shapes: list[tuple[int, int]], seed: int, k: int
) -> None:
    scores = scores_with(shapes, seed)
    expected = {}
    for name, matrix in scores.items():
        mask = np.zeros(matrix.numel(), dtype=bool)
        mask[best_first(matrix.numpy().ravel())[: len(matrix) * min(k, matrix.shape[1])]] = True
        expected[name] = mask.reshape(matrix.shape)
    assert_masks(GRANULARITIES['layer'](scores, Budget(k=k)), scores, expected)


@settings(max_examples=60, deadline=None)
@given(sizes, seeds, st.floats(0.05, 1))
def test_net_takes_the_best_of_all_weights_exactly(
    shapes: list[tuple[int, int]], seed: int, share: float
) -> None:
    scores = scores_with(shapes, seed)
    flat = np.concatenate([matrix.numpy().ravel() for matrix in scores.values()])
    num = max(int(share * len(flat)), 1)
    chosen = np.zeros(len(flat), dtype=bool)
    chosen[best_first(flat)[:num]] = True
    parts = np.split(chosen, np.cumsum([m.numel() for m in scores.values()])[:-1])
    expected = {
        name: part.reshape(matrix.shape)
        for (name, matrix), part in zip(scores.items(), parts, strict=True)
    }
    selection = net(scores, Budget(num=num))
    assert_masks(selection, scores, expected)
    assert selection.keys() == {name for name, mask in expected.items() if mask.any()}


def lines_by_hand(scores: Scores, axes: dict[str, int], counts: dict[str, int]) -> Arrays:
    """Whole lines by the rule: each weight's share first, then the best that still fit."""
    masks = {name: np.zeros(matrix.shape, dtype=bool) for name, matrix in scores.items()}
    left, waiting = sum(counts.values()), []
    for order, (name, matrix) in enumerate(scores.items()):
        lines = matrix.double().numpy() if axes[name] == 0 else matrix.double().numpy().T
        mask = masks[name] if axes[name] == 0 else masks[name].T
        length = lines.shape[1]
        ranked = best_first(lines.sum(1)).tolist()
        num = counts[name] // length
        for line in ranked[:num]:
            mask[line] = True
        left -= num * length
        waiting += [(-lines[i].sum() / length, order, i, mask, length) for i in ranked[num:]]
    for _, _, line, mask, length in sorted(waiting, key=lambda entry: entry[:3]):
        if length <= left:
            mask[line] = True
            left -= length
    return masks


@settings(max_examples=60, deadline=None)
@given(sizes, seeds, st.integers(1, 6), st.sampled_from(['rows', 'columns']))
def test_lines_are_whole_and_come_as_near_to_the_budget_as_they_fit(
    shapes: list[tuple[int, int]], seed: int, k: int, granularity: str
) -> None:
    scores = scores_with(shapes, seed)
    counts = {name: len(m) * min(k, m.shape[1]) for name, m in scores.items()}
    axis = 0 if granularity == 'rows' else 1
    expected = lines_by_hand(scores, dict.fromkeys(scores, axis), counts)
    if not any(mask.any() for mask in expected.values()):
        with pytest.raises(ValueError, match='less than a single one of the rows'):
            GRANULARITIES[granularity](scores, Budget(k=k))
        return
    selection = GRANULARITIES[granularity](scores, Budget(k=k))
    assert_masks(selection, scores, expected)
    assert selection.num_entries <= sum(counts.values())


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 6), st.integers(1, 6)), seeds, st.floats(0.2, 1))
def test_auto_takes_the_lines_that_capture_more_at_equal_counts(
    shape: tuple[int, int], seed: int, fraction: float
) -> None:
    scores = scores_with([shape], seed, levels=1000)
    budget = int(fraction * shape[0] * shape[1])
    captured = []
    for lines in (scores['w0'].double().numpy(), scores['w0'].double().numpy().T):
        # Spend entry by entry: a line in part counts in part.
        sums = np.sort(lines.sum(1))[::-1] / lines.shape[1]
        captured.append(np.repeat(sums, lines.shape[1])[:budget].sum())
    if budget == 0 or np.isclose(*captured):
        return
    axis = int(captured[1] > captured[0])
    expected = lines_by_hand(scores, {'w0': axis}, {'w0': budget})
    if expected['w0'].any():
        assert_masks(GRANULARITIES['auto'](scores, Budget(fraction=fraction)), scores, expected)


@settings(max_examples=60, deadline=None)
@given(sizes, seeds, st.floats(0.05, 1), st.sampled_from(sorted(GRANULARITIES)))
def test_a_number_or_a_fraction_is_met_or_not_exceeded(
    shapes: list[tuple[int, int]], seed: int, fraction: float, granularity: str
) -> None:
    scores = scores_with(shapes, seed)
    total = int(fraction * sum(matrix.numel() for matrix in scores.values()))
    for budget in ({'fraction': fraction}, {'num': total}):
        try:
            num = GRANULARITIES[granularity](scores, Budget(**budget)).num_entries
        except ValueError:
            # Less than one entry, one per neuron, or one line.
            assert granularity not in ('layer', 'net') or total < 1
            continue
        assert num == total if granularity in ('layer', 'net') else num <= total
        if granularity == 'neuron':
            step = sum(len(m) for m in scores.values())
            assert num > total - step or num == sum(m.numel() for m in scores.values())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_sharing_out_keeps_the_total_the_limits_and_the_proportions(data: st.DataObject) -> None:
    limits = data.draw(st.lists(st.integers(0, 30), min_size=1, max_size=6))
    shares = data.draw(st.lists(st.integers(1, 20), min_size=len(limits), max_size=len(limits)))
    total = data.draw(st.integers(0, sum(limits)))
    counts = share_out(total, shares, limits)
    assert sum(counts) == total
    assert all(0 <= count <= limit for count, limit in zip(counts, limits, strict=True))
    exact = [total * share / sum(shares) for share in shares]
    if all(value <= limit for value, limit in zip(exact, limits, strict=True)):
        assert all(abs(c - e) < 1 for c, e in zip(counts, exact, strict=True))


def test_a_k_above_the_fan_in_is_clamped_and_said() -> None:
    scores = scores_with([(3, 5), (4, 2)], 0)
    for granularity in GRANULARITIES.values():
        assert granularity(scores, Budget(k=3)).provenance['clamped'] == 'w1'
        assert 'clamped' not in granularity(scores, Budget(k=2)).provenance
    assert GRANULARITIES['neuron'](scores, Budget(k=3)).num_entries == 3 * 3 + 4 * 2


@pytest.mark.parametrize(
    'budget, cause',
    [
        ({}, 'exactly one of k .* got none'),
        ({'k': 1, 'num': 3}, 'exactly one of k .* got k, num'),
        ({'k': 0}, 'k must be at least 1, got 0'),
        ({'num': 0}, 'num must be at least 1, got 0'),
        ({'num': 1.5}, 'num must be a whole number, got 1.5'),
        ({'fraction': 0.0}, 'fraction must be above 0 and at most 1, got 0.0'),
        ({'fraction': 1.1}, 'fraction must be above 0 and at most 1, got 1.1'),
    ],
)
def test_a_budget_that_is_none_is_refused_by_its_setting(budget: dict, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        Budget(**budget)


def test_a_budget_that_the_weights_cannot_meet_is_refused() -> None:
    scores = scores_with([(3, 5)], 0)
    with pytest.raises(ValueError, match='num must be at most 15'):
        net(scores, Budget(num=16))
    with pytest.raises(ValueError, match='less than one entry'):
        net(scores, Budget(fraction=0.01))
    with pytest.raises(ValueError, match='num=2 is less than one entry for each of the 3 neurons'):
        GRANULARITIES['neuron'](scores, Budget(num=2))


def test_a_weight_of_which_nothing_is_taken_is_left_out() -> None:
    scores = scores_with([(2, 2), (2, 2)], 0)
    scores = Scores({'w0': torch.zeros(2, 2), 'w1': torch.ones(2, 2)}, scores.weights)
    assert list(net(scores, Budget(num=3))) == ['w1']


def with_zeros(scores: Scores, *names: str) -> Scores:
    zeroed = {n: torch.zeros_like(m) if n in names else m + 1 for n, m in scores.items()}
    return Scores(zeroed, scores.weights)


@pytest.mark.parametrize('granularity', GRANULARITIES)
def test_a_weight_without_any_score_is_named_and_not_filled(granularity: str) -> None:
    scores = with_zeros(scores_with([(3, 5), (4, 4), (2, 6)], 0), 'w0', 'w2')
    selection = choose(scores, granularity, Budget(k=2))
    assert list(selection) == ['w1']
    assert selection.provenance['unscored'] == 'w0,w2'
    alone = GRANULARITIES[granularity](scores.without(['w0', 'w2']), Budget(k=2))
    assert selection.overlap(alone) == 1
    assert {**alone.provenance, 'unscored': 'w0,w2'} == selection.provenance


@pytest.mark.parametrize('granularity', ['neuron', 'layer', 'net'])
def test_k_counts_over_scored_weights_only(granularity: str) -> None:
    scores = scores_with([(3, 5), (4, 4), (2, 6)], 0)
    assert choose(with_zeros(scores), granularity, Budget(k=2)).num_entries == 2 * (3 + 4 + 2)
    assert choose(with_zeros(scores, 'w1'), granularity, Budget(k=2)).num_entries == 2 * (3 + 2)


@pytest.mark.parametrize('granularity', GRANULARITIES)
def test_where_every_weight_has_a_score_choosing_is_the_granularity(granularity: str) -> None:
    scores = with_zeros(scores_with([(3, 5), (4, 4)], 1))
    selection = choose(scores, granularity, Budget(fraction=0.5))
    by_hand = GRANULARITIES[granularity](scores, Budget(fraction=0.5))
    assert selection.overlap(by_hand) == 1
    assert selection.provenance == by_hand.provenance


def test_scores_that_are_all_zero_choose_nothing() -> None:
    scores = with_zeros(scores_with([(3, 5), (4, 4)], 1), 'w0', 'w1')
    with pytest.raises(ValueError, match='scores of all weights are zero'):
        choose(scores, 'neuron', Budget(k=1))


def test_a_granularity_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no granularity 'cell'; choose one of neuron, layer"):
        choose(scores_with([(3, 5)], 1), 'cell', Budget(k=1))
