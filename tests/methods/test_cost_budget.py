"""What a training step may cost, as users write it and mistype it."""

from typing import Any

import pytest

from gps_seg.methods import METHODS, build_method, method_settings
from gps_seg.methods.cost_budget import CostBudget

# Refuse 'auto': their modules come from a pass over the images.
BY_NUMBER = {'spt_lora', 'spt_adapter', 'last_k_blocks', 'peft'}
WITHOUT_SCORE = {
    *('adapter', 'bias', 'full', 'linear', 'lora', 'norm', 'sam_adapter', 'ssf'),
    *('vpt_deep', 'vpt_shallow'),
}


@pytest.mark.parametrize(
    'memory, num_bytes',
    [
        ('8GB', 8 * 10**9),
        ('8 GB', 8 * 10**9),
        ('8GiB', 8 * 2**30),
        ('7.5GiB', 7.5 * 2**30),
        ('500MB', 500 * 10**6),
        ('0.5TiB', 2**39),
        ('1KB', 1000),
        ('12B', 12),
    ],
)
def test_a_memory_is_a_number_and_a_unit(memory: str, num_bytes: float) -> None:
    assert CostBudget(memory=memory).num_bytes == num_bytes


def test_a_budget_has_one_spelling() -> None:
    assert str(CostBudget(memory='8 GB')) == str(CostBudget(memory='8.0GB')) == 'memory=8GB'
    assert CostBudget(step=1).settings() == {'step': 1}


@pytest.mark.parametrize(
    'memory',
    [8, 8e9, '8', 'GB', '8gb', '8G', '-8GB', '0GB', '8GB!', 'nanGB', '1e3GB', '', None, True],
)
def test_what_is_no_memory_is_refused(memory: Any) -> None:
    with pytest.raises(ValueError, match='memory'):
        CostBudget.of({'memory': memory})


@pytest.mark.parametrize('step', [0, -0.2, 1.01, 45, float('nan'), '0.45', True, None])
def test_what_is_no_share_of_a_step_is_refused(step: Any) -> None:
    with pytest.raises(ValueError, match='step'):
        CostBudget.of({'step': step})


@pytest.mark.parametrize('budget', ['8GB', 8, ['8GB'], {}, {'memory': '8GB', 'step': 0.5}])
def test_a_budget_is_exactly_one_of_its_settings(budget: Any) -> None:
    with pytest.raises(ValueError, match=r"budget must be dict\(memory='8GB'\) or dict\(step="):
        CostBudget.of(budget)


def test_a_mistyped_setting_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no setting 'memroy'.*did you mean 'memory'"):
        CostBudget.of({'memroy': '8GB'})


@pytest.mark.parametrize('method', sorted(METHODS.keys() - BY_NUMBER))
def test_every_method_takes_auto_with_a_budget(method: str) -> None:
    k = {'k': 1} if method in ('grft', 'select') else {}
    asked = {'type': method, **k, 'train_from': 'auto', 'budget': {'memory': '8 GB'}}
    settings = method_settings(build_method(asked))
    assert (settings['train_from'], settings['budget']) == ('auto', {'memory': '8GB'})


@pytest.mark.parametrize('method', sorted(METHODS.keys() - BY_NUMBER))
def test_without_a_budget_auto_needs_a_score(method: str) -> None:
    k = {'k': 1} if method in ('grft', 'select') else {}
    asked = {'type': method, **k, 'train_from': 'auto'}
    if method in WITHOUT_SCORE:
        with pytest.raises(ValueError, match="train_from='auto' needs a budget here"):
            build_method(asked)
    else:
        assert method_settings(build_method(asked))['budget'] is None


@pytest.mark.parametrize('train_from', [0, 3, 0.5])
def test_a_budget_without_auto_is_refused(train_from: float) -> None:
    with pytest.raises(ValueError, match="budget goes with train_from='auto' alone"):
        build_method({'type': 'gps', 'train_from': train_from, 'budget': {'step': 0.5}})


@pytest.mark.parametrize('train_from', ['Auto', 'automatic', '3', '', None])
def test_another_word_than_auto_is_refused(train_from: Any) -> None:
    with pytest.raises(ValueError, match=r"train_from must be .* or 'auto'"):
        build_method({'type': 'full', 'train_from': train_from})
