"""Which values are tried."""

import importlib.util
import math

import pytest

from gps_seg.bench.search import Grid, Values, best, beyond, extensions, grown, points, tpe_points

LR, DECAY = 'optimizer.lr', 'optimizer.weight_decay'


def scored(peak: float, values: list[float]) -> dict[Values, float]:
    """Scores that fall off from a peak on the logarithmic scale."""
    return {((LR, v),): -abs(math.log(v / peak)) for v in values}


def test_all_combinations_of_two_settings_are_tried() -> None:
    tried = points({LR: [1e-4, 1e-3], DECAY: [0, 0.1, 0.2]})
    assert len(tried) == len(set(tried)) == 6
    assert ((LR, 1e-3), (DECAY, 0.1)) in tried


def test_an_empty_grid_has_one_point_without_settings() -> None:
    assert points({}) == [()]


@pytest.mark.parametrize(
    'values, upper, expected',
    [
        ([1e-4, 3e-4, 1e-3], True, 3e-3),
        ([1e-4, 3e-4, 1e-3], False, 3e-5),
        ([1, 10], True, 100),
        ([1.0, 2.0, 4.0, 8.0], False, 0.5),
        ([2, 3], True, 4),
        ([1, 2, 4], False, 1),
    ],
)
def test_a_grid_goes_on_in_its_own_ratios(
    values: list[float], upper: bool, expected: float
) -> None:
    assert beyond(values, upper=upper) == pytest.approx(expected)


def test_only_a_best_value_at_an_end_extends_the_grid() -> None:
    grid = {LR: [1e-4, 3e-4, 1e-3]}
    assert extensions(grid, scored(3e-4, grid[LR])) == {}
    assert extensions(grid, scored(1.0, grid[LR])) == {LR: [3e-3]}
    assert extensions(grid, scored(1e-9, grid[LR])) == {LR: [3e-5]}


def test_integers_stay_integers_and_end_at_one() -> None:
    assert isinstance(beyond([2, 3], upper=True), int)
    grid = {'batch': [1, 2, 4]}
    scores: dict[Values, float] = {(('batch', v),): -float(v) for v in grid['batch']}
    assert grown(grid, {'small': scores}, together=False) == {'small': grid}


def test_a_setting_that_is_no_scale_is_never_extended() -> None:
    grid: Grid = {'granularity': ['neuron', 'net'], 'flag': [False, True]}
    scores = {point: float(index) for index, point in enumerate(points(grid))}
    assert extensions(grid, scores) == {}


def test_a_grid_grows_for_the_method_that_needs_it_alone() -> None:
    start = {LR: [1e-4, 3e-4, 1e-3]}
    every = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
    scores = {'inside': scored(3e-4, every), 'above': scored(3e-3, every)}
    grids = grown(start, scores, together=False)
    assert grids == {'inside': start, 'above': {LR: [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]}}


def test_together_every_method_takes_the_step_of_one() -> None:
    start = {LR: [1e-4, 3e-4, 1e-3]}
    every = [1e-4, 3e-4, 1e-3, 3e-3]
    scores = {'inside': scored(3e-4, every), 'above': scored(1e-3, every[:-1])}
    grids = grown(start, scores, together=True)
    assert grids['inside'] == grids['above'] == {LR: every}


def test_a_method_whose_grid_is_not_finished_does_not_grow_it() -> None:
    start = {LR: [1e-4, 3e-4, 1e-3]}
    assert grown(start, {'new': scored(1.0, [1e-3])}, together=True) == {'new': start}


def test_a_grid_that_never_ends_stops_after_some_steps() -> None:
    start = {LR: [1.0, 10.0]}
    every = [10.0**n for n in range(30)]
    assert len(grown(start, {'up': scored(1e99, every)}, together=False)['up'][LR]) == 6


def test_of_equal_scores_the_first_wins() -> None:
    assert best({((LR, 1),): 5.0, ((LR, 2),): 5.0}) == ((LR, 1),)


@pytest.mark.skipif(importlib.util.find_spec('optuna') is None, reason='needs optuna')
def test_tpe_asks_the_same_of_every_worker_and_finds_the_peak() -> None:
    ranges = {LR: [1e-5, 1e-1]}
    scores: dict[Values, float] = {}
    for _ in range(20):
        asked = tpe_points(ranges, scores, num_trials=20, seed=0)
        assert asked == tpe_points(ranges, dict(scores), num_trials=20, seed=0)
        for values in asked:
            scores.setdefault(values, -abs(math.log(values[0][1] / 1e-3)))
    assert len(scores) == 20
    assert all(1e-5 <= values[0][1] <= 1e-1 for values in scores)
    assert abs(math.log10(best(scores)[0][1]) + 3) < 0.5
