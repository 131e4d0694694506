"""Which plans a training accepts, and where it looks for them."""

from pathlib import Path

import pytest
import torch

from gps_seg.data_root import VARIABLE
from gps_seg.hooks import FineTuneHook
from gps_seg.methods import Plan
from gps_seg.selection import Entries, Selection
from gps_seg.tuning.plan_file import in_words, load_plan

BASE = 'a' * 64


def write_plan(path: Path, **provenance: str) -> Selection:
    entries = Entries.from_mask(torch.eye(3, dtype=torch.bool), (3, 3))
    plan = Selection({'w': entries}, provenance)
    plan.save(path)
    return plan


def test_a_plan_for_this_base_is_taken(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / 'plan.safetensors', base=BASE)
    loaded = load_plan(str(tmp_path / 'plan.safetensors'), base=BASE)
    assert loaded.selection.overlap(plan) == 1
    assert loaded.provenance == {'base': BASE}


def test_a_plan_for_another_base_is_refused_with_both_and_the_next_step(tmp_path: Path) -> None:
    write_plan(tmp_path / 'plan.safetensors', base=BASE)
    with pytest.raises(ValueError, match=r'base a{12}, .*now are b{12}; .*gps-seg select'):
        load_plan(str(tmp_path / 'plan.safetensors'), base='b' * 64)


def test_a_plan_that_names_no_base_is_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_plan(tmp_path / 'plan.safetensors')
    assert load_plan(str(tmp_path / 'plan.safetensors'), base=BASE).selection.num_entries == 3
    (warning,) = caplog.messages
    assert 'does not say which base' in warning and 'a' * 12 in warning


def test_the_working_directory_comes_before_the_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    monkeypatch.setenv(VARIABLE, str(tmp_path / 'root'))
    write_plan(tmp_path / 'root' / 'plans' / 'a.safetensors', base=BASE, place='root')
    assert load_plan('plans/a.safetensors', base=BASE).provenance['place'] == 'root'
    write_plan(tmp_path / 'here' / 'plans' / 'a.safetensors', base=BASE, place='here')
    assert load_plan('plans/a.safetensors', base=BASE).provenance['place'] == 'here'


def test_a_missing_plan_names_both_places_and_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        load_plan('absent.safetensors', base=BASE)
    message = str(caught.value)
    assert f'no file absent.safetensors or {tmp_path}/absent.safetensors' in message
    assert 'gps-seg select CONFIG --out absent.safetensors' in message


@pytest.mark.parametrize('method', ['Full', 'Linear', 'Bias'])
def test_a_method_that_selects_nothing_cannot_have_a_plan(method: str) -> None:
    with pytest.raises(ValueError, match=rf'{method} decides nothing in advance.*plan\.safetens'):
        FineTuneHook(dict(type=method), plan='plan.safetensors')


def test_a_plan_is_told_in_one_line() -> None:
    entries = Entries.from_mask(torch.eye(3, dtype=torch.bool), (3, 3))
    plan = Selection({'w': entries}, {'criterion': 'random', 'k': '1', 'else': 'x'})
    assert in_words(Plan(plan)) == '3 entries of 1 weights (criterion random, k 1)'
    assert in_words(Plan()) == '0 entries of 0 weights (of unknown origin)'
