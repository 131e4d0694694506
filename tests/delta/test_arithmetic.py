"""Merged, compared and scaled deltas, against NumPy over whole states."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gps_seg.delta import Delta, compare, merge, scale
from gps_seg.selection import Entries, Selection

SHAPES = {'linear': (4, 6), 'conv': (4, 2, 3), 'up': (4, 3, 2, 2), 'bias': (5,), 'scalar': ()}
GROUPS = {'up': 2}


def base_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: torch.randn(shape) for name, shape in SHAPES.items()}


def random_delta(base: Mapping[str, Tensor], seed: int, **options: Any) -> tuple[Delta, dict]:
    """A delta, and by name which entries it writes and their values, in flattened arrays."""
    rng = np.random.default_rng(seed)
    tuned = {name: tensor.clone() for name, tensor in base.items()}
    entries, arrays = {}, {}
    for name, tensor in base.items():
        size = tensor.numel()
        written = rng.random(size) < 0.4
        if tensor.dim() < 2 or rng.random() < 0.3:
            written[:] = rng.random() < 0.7
        # Few different values, so that some agree.
        new = rng.choice(np.array([1.5, -2.25, 0.1], dtype=np.float32), size)
        if not written.any():
            continue
        flat = tuned[name].reshape(-1)
        flat[torch.from_numpy(written)] = torch.from_numpy(new[written])
        arrays[name] = written, flat.numpy().copy()
        if not written.all():
            groups = GROUPS.get(name, 0)
            entries[name] = entries_of(written, tuple(tensor.shape), groups)
    return Delta.between(base, tuned, Selection(entries), **options), arrays


def entries_of(written: np.ndarray, shape: tuple[int, ...], groups: int) -> Entries:
    array = written.reshape(shape)
    if groups:  # (in, out / groups, ...) -> (out, in / groups * ...)
        parts = np.split(array, groups)
        array = np.concatenate([part.swapaxes(0, 1) for part in parts])
    return Entries.from_mask(torch.from_numpy(array.reshape(len(array), -1).copy()), shape, groups)


def applied(delta: Delta, base: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    state = {name: tensor.clone() for name, tensor in base.items()}
    delta.swap(state)
    return {name: tensor.numpy().reshape(-1) for name, tensor in state.items()}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000), st.sampled_from(['first', 'mean']))
def test_a_merge_and_its_report_agree_with_numpy(one: int, two: int, conflict: str) -> None:
    base = base_state()
    (first, mine), (second, theirs) = random_delta(base, one), random_delta(base, two)
    merged, report = merge(first, second, conflict=conflict)
    assert report.keys() == mine.keys() | theirs.keys() == merged.values.keys() | merged.whole
    result = applied(merged, base)
    for name, tensor in base.items():
        nothing = np.zeros(tensor.numel(), bool), tensor.numpy().reshape(-1)
        (a, av), (b, bv) = mine.get(name, nothing), theirs.get(name, nothing)
        clash = a & b & (av != bv)
        mean = ((av.astype(np.float64) + bv) / 2).astype(np.float32)
        expected = np.where(a, av, np.where(b, bv, nothing[1]))
        expected = np.where(clash, mean if conflict == 'mean' else av, expected)
        np.testing.assert_array_equal(result[name], expected)
        if name in report:
            told = report[name]
            counts = (told.only_first, told.only_second, told.same, told.num_conflicts)
            same = int((a & b & (av == bv)).sum())
            assert counts == (int((a & ~b).sum()), int((b & ~a).sum()), same, int(clash.sum()))
            np.testing.assert_array_equal(told.places, clash.nonzero()[0])
            np.testing.assert_array_equal(told.first, av[clash])
            np.testing.assert_array_equal(told.second, bv[clash])
            largest = np.abs(av[clash].astype(np.float64) - bv[clash]).max(initial=0)
            assert told.largest_difference == largest
            for position, index in enumerate(np.argwhere(clash.reshape(tensor.shape))):
                assert told.index(position) == tuple(index)
    # What a merge wrote is no more than the two wrote.
    both = {n: mine.get(n, (0,))[0] | theirs.get(n, (0,))[0] for n in report}
    assert all(merged.selection[n].num == both[n].sum() for n in merged.selection)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.0, 0.5, 0.3, -1.0, 1.5]))
def test_a_scaled_delta_agrees_with_numpy(seed: int, by: float) -> None:
    base = base_state()
    delta, _ = random_delta(base, seed)
    tuned, scaled = applied(delta, base), applied(scale(delta, base, by), base)
    for name, tensor in base.items():
        old, new = tensor.numpy().reshape(-1).astype(np.float64), tuned[name]
        expected = ((1 - by) * old + by * new.astype(np.float64)).astype(np.float32)
        expected = np.where(new == old.astype(np.float32), new, expected)
        np.testing.assert_array_equal(scaled[name], expected)


@pytest.mark.parametrize('by, ends', [(0, 'base'), (1, 'tuned')])
def test_both_ends_are_exact_to_the_bit(by: float, ends: str) -> None:
    base = {'w': torch.tensor([0.0, -0.0, 1e38, float('inf'), 1.0]), 'n': torch.tensor(3)}
    tuned = {'w': torch.tensor([-0.0, 0.0, 1e-38, 1.0, float('nan')]), 'n': torch.tensor(4)}
    state = {name: tensor.clone() for name, tensor in base.items()}
    scale(Delta.between(base, tuned), base, by).swap(state)
    expected = {'base': base, 'tuned': tuned}[ends]
    for name in base:
        assert state[name].numpy().tobytes() == expected[name].numpy().tobytes()


def test_a_delta_compared_with_itself_is_the_same_and_merges_without_conflict() -> None:
    delta, _ = random_delta(base_state(), 3)
    assert all(compared.is_same for compared in compare(delta, delta).values())
    merged, _ = merge(delta, delta)
    assert all(compared.is_same for compared in compare(delta, merged).values())


def test_conflicts_are_refused_by_name_index_and_both_values() -> None:
    base = {'w': torch.zeros(3, 4)}
    one, two = (Delta.between(base, {'w': full(value)}) for value in (1.5, -2.0))
    with pytest.raises(ValueError, match=r'1 entries.*w\[1, 2\]: 1\.5 and -2\.0'):
        merge(one, two)


def full(value: float) -> Tensor:
    tensor = torch.zeros(3, 4)
    tensor[1, 2] = value
    return tensor


def test_metadata_are_those_in_which_both_agree_and_what_is_of_a_run_goes() -> None:
    base = {'w': torch.zeros(3), 'v': torch.zeros(2)}
    told = {'model': 'sam', 'best_score': '90.0', 'epoch': '3', 'base_name': 'b.pth'}
    one = Delta.between(base, {**base, 'w': torch.ones(3)}, metadata={**told, 'config': 'one'})
    two = Delta.between(base, {**base, 'v': torch.ones(2)}, metadata={**told, 'config': 'two'})
    merged, _ = merge(one, two)
    kept = {'model': 'sam', 'base_name': 'b.pth'}
    assert merged.metadata == {**kept, 'merged': 'conflicts: refuse'}
    assert scale(one, base, 0.5).metadata == {**kept, 'config': 'one', 'scaled': 'by 0.5'}


def test_rounded_deltas_stay_rounded(tmp_path: Any) -> None:
    base = base_state()
    tuned = {name: tensor + torch.randn(tensor.shape) for name, tensor in base.items()}
    other = {name: tensor + torch.randn(tensor.shape) for name, tensor in base.items()}
    one, two = (Delta.between(base, t).to(torch.bfloat16) for t in (tuned, other))
    for made in (merge(one, two, conflict='mean')[0], scale(one, base, 0.3)):
        assert made.stored == torch.bfloat16
        made.save(tmp_path / 'd.safetensors')
        read = Delta.load(tmp_path / 'd.safetensors')
        assert all(torch.equal(read.whole[n], made.whole[n]) for n in made.whole)
    assert merge(one, Delta.between(base, other), conflict='first')[0].stored is None


def test_a_rounded_delta_scaled_to_nothing_is_the_base() -> None:
    base = base_state()
    tuned = {name: tensor + torch.randn(tensor.shape) for name, tensor in base.items()}
    none = scale(Delta.between(base, tuned).to(torch.bfloat16), base, 0.0)
    state = {name: tensor.clone() for name, tensor in base.items()}
    none.swap(state)
    assert all(torch.equal(state[name], base[name]) for name in base)


def wrong(kind: str) -> tuple[Delta, Delta]:
    base = {'w': torch.zeros(3, 4), 'n': torch.tensor(0), 'x': torch.zeros(2)}
    one = Delta.between(base, {**base, 'w': full(1.0)})
    if kind == 'undo':
        return one, one.swap({name: tensor.clone() for name, tensor in base.items()})
    if kind == 'base':
        other = {**base, 'x': torch.ones(2)}
        return one, Delta.between(other, {**other, 'w': full(2.0)})
    if kind == 'integers':
        return tuple(Delta.between(base, {**base, 'n': torch.tensor(n)}) for n in (1, 2))  # type: ignore[return-value]
    if kind == 'shape':
        two = Delta.between(base, {**base, 'w': full(2.0)})
        object.__setattr__(two, 'whole', {**two.whole, 'w': torch.zeros(2)})
        object.__setattr__(two, 'values', {})
        object.__setattr__(two, 'selection', Selection({}))
        return one, two
    raise AssertionError(kind)


@pytest.mark.parametrize(
    'kind, message',
    [
        ('undo', 'name the delta itself'),
        ('base', 'different bases'),
        ('integers', 'there is no mean; use first'),
        ('shape', 'of different models'),
    ],
)
def test_what_cannot_be_merged_is_refused(kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        merge(*wrong(kind), conflict='mean')
    with pytest.raises(ValueError, match='refuse, first, mean'):
        merge(*wrong(kind), conflict='second')


def test_added_modules_merge_where_they_are_the_same() -> None:
    base = {'a.weight': torch.zeros(3, 3)}
    tuned = {**base, 'a.lora_q_down': torch.ones(2, 3)}
    spec = {'type': 'lora', 'rank': 2}
    one = Delta.between(base, tuned, added={'a': spec})
    two = Delta.between(base, {**base, 'a.weight': torch.ones(3, 3)})
    merged, report = merge(one, two)
    assert merged.added == {'a': spec} and merged.fresh == {'a.lora_q_down'}
    assert report['a.lora_q_down'].only_first == 6 and report['a.weight'].only_second == 9
    other = Delta.between(base, tuned, added={'a': {**spec, 'rank': 3}})
    with pytest.raises(ValueError, match='different modules to a'):
        merge(one, other)
    with pytest.raises(ValueError, match='adds modules'):
        scale(one, base, 0.5)


def test_what_cannot_be_scaled_is_refused() -> None:
    base = {'w': torch.full((3,), 1e38), 'n': torch.tensor(0)}
    delta = Delta.between(base, {'w': torch.full((3,), -1e38), 'n': torch.tensor(0)})
    for by in (float('nan'), float('inf')):
        with pytest.raises(ValueError, match='finite number'):
            scale(delta, base, by)
    with pytest.raises(ValueError, match='too large for float32'):
        scale(delta, base, 10.0)
    with pytest.raises(ValueError, match='belongs to the base'):
        scale(delta, {**base, 'n': torch.tensor(1)}, 0.5)
    with pytest.raises(ValueError, match='int64 that changed'):
        scale(Delta.between(base, {**base, 'n': torch.tensor(5)}), base, 0.5)
    state = {name: tensor.clone() for name, tensor in base.items()}
    with pytest.raises(ValueError, match='an undo'):
        scale(delta.swap(state), state, 0.5)
    grown = {**base, 'w': torch.zeros(3), 'head': torch.ones(2)}
    fresh = Delta.between(base, grown, fresh={'head'})
    with pytest.raises(ValueError, match='1 tensors, such as head, started fresh'):
        scale(fresh, base, 0.5)
    kept = scale(fresh, base, 0.5, keep_fresh=True)
    assert torch.equal(kept.whole['head'], torch.ones(2))
    assert torch.equal(kept.whole['w'], torch.full((3,), 5e37))
