"""What a log calls a method: the name and the settings that a config would give it."""

import ast
import json
from typing import Any

import pytest

from gps_seg.methods import (
    build_method,
    method_in_words,
    method_name,
    method_settings,
    settings_in_words,
)

SPT_ADAPTER = "SPTAdapter(k=1, where={'leave_out': [0]})"


@pytest.mark.parametrize(
    'config, words',
    [
        (dict(type='gps'), 'GPS(k=1)'),
        (dict(type='GPS', k=10, temperature=0.1), 'GPS(k=10, temperature=0.1)'),
        (
            dict(type='fps', k=3, where=dict(leave_out_first=2)),
            "FPS(k=3, where={'leave_out_first': 2})",
        ),
        (dict(type='grft', k=10), 'GRFT(k=10)'),
        (
            dict(type='grft', lines='rows', fraction=0.01, pull=0.0, squares='of_sum'),
            "GRFT(fraction=0.01, squares='of_sum', lines='rows', pull=0.0)",
        ),
        (dict(type='random', k=2, seed=5), 'Random(k=2, seed=5)'),
        (dict(type='magnitude', k=2, whole=['biases']), "Magnitude(k=2, whole=['biases'])"),
        (dict(type='linear'), 'Linear()'),
        (dict(type='bias', train_from=0.5), 'Bias(train_from=0.5)'),
        (dict(type='norm'), 'Norm()'),
        (dict(type='norm', statistics=True), 'Norm(statistics=True)'),
        (dict(type='last_k_blocks', k=2), 'Full(train_from=-2)'),
        (
            dict(type='gps', train_from='auto', budget=dict(step=0.45)),
            "GPS(k=1, train_from='auto', budget={'step': 0.45})",
        ),
        (
            dict(type='select', criterion='task_gradient', granularity='net', k=10),
            "Select(criterion='task_gradient', granularity='net', k=10)",
        ),
        (dict(type='lora', rank=4), 'LoRA(rank=4)'),
        (dict(type='vpt_deep'), 'VPTDeep()'),
        (dict(type='VPTShallow', num=5), 'VPTShallow(num=5)'),
        (dict(type='SPTLoRA', rank=4, k=2), 'SPTLoRA(rank=4, k=2)'),
        (dict(type='spt_adapter', k=1, where=dict(leave_out=[0])), SPT_ADAPTER),
    ],
)
def test_the_words_make_the_same_method_again(config: dict[str, Any], words: str) -> None:
    method = build_method(config)
    assert method_in_words(method) == words
    call = ast.parse(words, mode='eval').body
    assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    told = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    assert build_method({'type': call.func.id, **told}) == method
    # As a delta holds them.
    assert settings_in_words(json.loads(json.dumps(method_settings(method)))) == words
    assert method_name(method) == call.func.id


@pytest.mark.parametrize(
    'settings, words',
    [
        ({'type': 'Select', 'k': 1, 'of_later': 2}, 'Select(k=1, of_later=2)'),
        ({'type': 'OfLater', 'k': 1}, 'OfLater(k=1)'),
        ({}, 'unknown()'),
    ],
)
def test_settings_of_another_version_are_told_as_they_are(
    settings: dict[str, Any], words: str
) -> None:
    assert settings_in_words(settings) == words
