import numpy as np
import pytest
from scipy import stats

from gps_seg.bench.report.ties import Comparison, Runs, bootstrap_interval, compare


def runs(*scores: list[float]) -> Runs:
    """A method from its image scores of each seed, in percent."""
    return Runs(
        scores={seed: float(np.mean(values)) for seed, values in enumerate(scores)},
        images={
            seed: {f'{i}.jpg': value for i, value in enumerate(values)}
            for seed, values in enumerate(scores)
        },
    )


def drawn(mean: float, *, size: int = 150, seed: int = 0) -> list[float]:
    return list(np.random.default_rng(seed).normal(mean, 8, size))


def test_the_interval_is_that_of_scipys_bootstrap() -> None:
    differences = np.random.default_rng(3).gamma(2.0, 3.0, 80) - 5
    theirs = stats.bootstrap(
        (differences,), np.mean, n_resamples=20_000, method='percentile', rng=1
    ).confidence_interval
    low, high = bootstrap_interval(differences)
    assert low == pytest.approx(theirs.low, abs=0.06)
    assert high == pytest.approx(theirs.high, abs=0.06)


def test_the_interval_is_the_same_every_time_and_for_large_sets() -> None:
    small = np.random.default_rng(0).normal(0, 1, 50)
    assert bootstrap_interval(small) == bootstrap_interval(small)
    large = np.random.default_rng(0).normal(1, 2, 30_000)
    low, high = bootstrap_interval(large, resamples=400)
    # 1.96 standard errors to each side.
    assert high - low == pytest.approx(2 * 1.96 * large.std() / np.sqrt(len(large)), rel=0.15)
    assert low < large.mean() < high


def test_a_clear_difference_beyond_the_seeds_is_one() -> None:
    base = drawn(70)
    better = [value + 5 for value in base]
    comparison = compare(
        runs(better, [value + 0.4 for value in better]), runs(base, [value - 0.2 for value in base])
    )
    assert comparison is not None
    assert comparison.difference == pytest.approx(5.3)
    assert comparison.seed_range == pytest.approx(0.4)
    assert comparison.verdict == 'difference'


def test_pairing_finds_a_small_difference_that_separate_samples_hide() -> None:
    base = drawn(70)
    better = [value + 0.5 for value in base]
    comparison = compare(runs(better, better), runs(base, base))
    assert comparison is not None
    assert comparison.verdict == 'difference'
    assert comparison.interval == pytest.approx((0.5, 0.5))
    unpaired = stats.ttest_ind(better, base).confidence_interval()
    assert unpaired.low < 0 < unpaired.high


def test_an_interval_around_zero_is_a_tie() -> None:
    comparison = compare(
        runs(drawn(70), drawn(70, seed=1)), runs(drawn(70, seed=2), drawn(70, seed=3))
    )
    assert comparison is not None
    assert comparison.interval is not None
    assert comparison.interval[0] <= 0 <= comparison.interval[1]
    assert comparison.verdict == 'tie'


def test_a_difference_within_the_range_of_the_seeds_of_either_is_a_tie() -> None:
    base = drawn(70)
    first = runs([value + 1 for value in base], [value + 5 for value in base])
    second = runs(base, base)
    for comparison in (compare(first, second), compare(second, first)):
        assert comparison is not None
        assert abs(comparison.difference) == pytest.approx(3)
        assert comparison.seed_range == pytest.approx(4)
        assert comparison.verdict == 'tie'


def test_the_other_way_round_turns_the_signs() -> None:
    first, second = runs(drawn(72), drawn(73)), runs(drawn(70, seed=5), drawn(70, seed=6))
    there, back = compare(first, second), compare(second, first)
    assert there is not None and there.interval is not None
    assert back is not None and back.interval is not None
    assert back.difference == pytest.approx(-there.difference)
    assert back.interval == pytest.approx((-there.interval[1], -there.interval[0]), abs=1e-9)


def test_one_seed_settles_no_difference_but_can_tie() -> None:
    base = drawn(70)
    far = compare(runs([value + 5 for value in base]), runs(base))
    assert far is not None
    assert far.seed_range is None
    assert far.verdict == 'unsettled'
    near = compare(runs(drawn(70, seed=1)), runs(base))
    assert near is not None
    assert near.verdict == 'tie'


def test_only_seeds_that_both_have_are_compared() -> None:
    base = drawn(70)
    comparison = compare(runs([value + 1 for value in base], drawn(99)), runs(base))
    assert comparison is not None
    assert comparison.seeds == (0,)
    assert comparison.difference == pytest.approx(1)
    assert compare(Runs({1: 3.0}, {}), Runs({0: 3.0}, {})) is None


def test_without_scores_of_images_the_seeds_alone_decide() -> None:
    near = compare(Runs({0: 80.0, 1: 82.0}, {}), Runs({0: 79.0, 1: 80.0}, {}))
    assert near is not None
    assert (near.interval, near.why, near.verdict) == (None, 'no scores of single images', 'tie')
    far = compare(Runs({0: 90.0, 1: 92.0}, {}), Runs({0: 79.0, 1: 80.0}, {}))
    assert far is not None
    assert far.verdict == 'unsettled'


def test_image_scores_whose_mean_is_not_the_score_are_not_resampled() -> None:
    first, second = runs(drawn(70), drawn(71)), runs(drawn(72), drawn(73))
    pooled = Runs({seed: score + 3 for seed, score in first.scores.items()}, first.images)
    comparison = compare(pooled, second)
    assert comparison is not None
    assert comparison.interval is None
    assert 'is not the mean over images' in comparison.why


def test_other_test_images_are_not_paired() -> None:
    first, second = runs(drawn(70)), runs(drawn(70, size=149))
    comparison = compare(first, second)
    assert comparison is not None
    assert comparison.why == 'the methods were tested on different images'
    odd = runs(drawn(70), drawn(70, size=149))
    comparison = compare(odd, odd)
    assert comparison is not None
    assert comparison.why == 'the seeds were tested on different images'
    comparison = compare(runs([70.0]), runs([80.0]))
    assert comparison is not None
    assert comparison.why == 'a single test image'


def test_no_difference_at_all_is_a_tie() -> None:
    assert Comparison(0.0, (0.0, 0.0), 0.0, (0, 1)).verdict == 'tie'
    assert Comparison(0.0, None, 0.0, (0, 1)).verdict == 'tie'
