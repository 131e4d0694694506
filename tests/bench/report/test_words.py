from dataclasses import replace

import pytest

from gps_seg.bench.report import words
from gps_seg.bench.report.results import SuiteResults
from gps_seg.bench.report.summary import Group, summarise
from gps_seg.bench.report.ties import Comparison
from tests.bench.made_results import METHODS, MadeSuite
from tests.bench.report.conftest import results_of


def group_of(made: MadeSuite, **finals: int) -> Group:
    """The group of a suite with so many seeds of each method."""
    for method, seeds in finals.items():
        for seed in range(seeds):
            made.final('kvasir_seg', method, seed)
    (group,) = summarise(results_of(made.write_suite()))
    return group


def test_the_headline_says_who_wins_by_how_much_and_at_what_cost(whole: SuiteResults) -> None:
    (group,) = summarise(whole)
    first, second, third, fourth = words.headline(group)
    assert first == (
        'Full scores highest: 84.35 ± 0.35 % mDice (mean ± deviation over 2 seeds, training 100 % '
        'of the model).'
    )
    assert second == 'GPS, K = 40 (0.2 points below) ties with it.'
    assert third.startswith(
        'Of these, GPS, K = 40 trains the fewest entries: 5,603,000 (54.6 % of the model) against '
        '10,269,680 of full. Its cost beside full: 0.55x the trained entries, 0.96x the time, '
        '0.79x the peak memory, 0.58x the delta.'
    )
    assert fourth.startswith('GPS, K = 10 comes next, 3.2 points below (95 % interval −')
    assert fourth.endswith(': a difference).')


@pytest.mark.parametrize(
    'difference, told', [(0.0, 'level'), (-0.04, 'level'), (-0.06, '0.1 points below')]
)
def test_what_is_equal_to_a_tenth_is_level(
    difference: float, told: str, whole: SuiteResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    (group,) = summarise(whole)
    against = dict(group.against_best)
    against['gps_k40'] = replace(against['gps_k40'], difference=difference)
    monkeypatch.setitem(vars(group), 'against_best', against)
    assert words.headline(group)[1] == f'GPS, K = 40 ({told}) ties with it.'


def test_a_clear_winner_is_told_with_the_next(made: MadeSuite) -> None:
    group = group_of(made, full=2, linear=2)
    _, second = words.headline(group)
    assert second.startswith('Decoder and neck (linear) comes next, 9.1 points below')
    assert second.endswith('0.46x the delta.')


def test_without_a_complete_method_there_is_no_winner(made: MadeSuite) -> None:
    group = group_of(made, full=1)
    assert words.headline(group) == ['No winner yet: no method has all its seeds.']


def test_sentences_place_methods_against_reference_and_control(whole: SuiteResults) -> None:
    (group,) = summarise(whole)
    told = {row.method: line for row, line in zip(group.scored, words.in_words(group), strict=True)}
    assert told['gps_k10'].startswith('GPS, K = 10 is 3.2 points below full (95 % interval −')
    assert '; it is 0.8 points above random, K = 10 at equal count (95 % ' in told['gps_k10']
    assert ': a tie). Its cost beside full: ' in told['gps_k10']
    assert 'at equal count' not in told['gps_k40']
    assert told['full'].startswith('Full is 4.0 points above random, K = 10 (')
    assert told['random_k10'].count('it is') == 0


def test_a_control_that_is_missing_is_not_spoken_of(made: MadeSuite) -> None:
    group = group_of(made, full=2, gps_k10=2)
    (only,) = words.in_words(group)
    assert only.startswith('GPS, K = 10 is 3.2 points below full')
    assert 'random' not in only


def test_fewer_common_seeds_are_named(made: MadeSuite) -> None:
    group = group_of(made, full=1, gps_k10=2)
    (only,) = words.in_words(group)
    assert ' over the seeds that both have, 0 (95 % interval' in only
    assert 'from one seed: not settled' in only


@pytest.mark.parametrize(
    'comparison, told',
    [
        (Comparison(1.2, (0.5, 1.9), 0.4, (0, 1)), '95 % interval +0.5 to +1.9: a difference'),
        (Comparison(0.2, (-0.5, 0.9), 0.1, (0, 1)), '95 % interval −0.5 to +0.9: a tie'),
        (
            Comparison(1.2, (0.5, 1.9), 1.5, (0, 1)),
            '95 % interval +0.5 to +1.9, but the seeds of one method differ by 1.5: a tie',
        ),
        (
            Comparison(1.2, (0.5, 1.9), None, (0,)),
            '95 % interval +0.5 to +1.9, from one seed: not settled',
        ),
        (
            Comparison(1.2, None, 0.5, (0, 1), 'no scores of single images'),
            'no interval: no scores of single images: not settled',
        ),
        (
            Comparison(0.2, None, 0.5, (0, 1), 'no scores of single images'),
            'no interval: no scores of single images, but the seeds of one method differ by 0.5: '
            'a tie',
        ),
    ],
)
def test_a_verdict_says_what_decides(comparison: Comparison, told: str) -> None:
    assert words.verdict(comparison) == told


def test_three_sentences_say_what_was_compared_and_how(whole: SuiteResults) -> None:
    (group,) = summarise(whole)
    first, second, third = words.what_was_compared(group)
    assert first.startswith(
        '5 ways to fine-tune sam-vit-tiny-256 on kvasir_seg were compared: full;'
    )
    assert second == (
        'For every method lr was chosen by mDice on the validation images, in 3 trials of 2 '
        'epochs; with the best value it then trained for 4 epochs with 2 seeds (0 and 1).'
    )
    assert third == (
        'Scores are mDice (how far the predicted and the true area overlap, 100 is perfect; mean '
        'over images, foreground) in percent on the 120 test images, taken once, at the best epoch '
        'on the validation images; the test images chose nothing.'
    )


def test_uneven_trials_and_none_are_told(made: MadeSuite) -> None:
    made.trial('kvasir_seg', 'full', 1e-3)
    made.trial('kvasir_seg', 'full', 3e-3)
    group = group_of(made, full=1)
    assert 'in 0 to 2 trials of 2 epochs' in words.what_was_compared(group)[1]
    untuned = replace(group.suite, cells=(), checkpoint='last', seeds=(0,))
    (group,) = summarise(untuned)
    _, second, third = words.what_was_compared(group)
    assert second == 'Nothing was tuned; every method trained for 4 epochs with 1 seed (0).'
    assert 'at the last epoch' in third


def test_the_rule_speaks_of_what_is_there(whole: SuiteResults, made: MadeSuite) -> None:
    (group,) = summarise(whole)
    assert '± is the sample standard deviation' in words.rule(group)
    assert 'Further test sets' not in words.rule(group)
    assert 'One seed each, so no ±' in words.rule(group_of(made, full=1))


def test_all_labels_can_begin_a_sentence() -> None:
    assert all(words._begin(method.label)[0].isupper() for method in METHODS.values())
    assert words._begin('') == ''
