"""Deltas against states of random bits; what is expected is told by bytes, not by tensors."""

import copy
from collections.abc import Mapping, MutableMapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import gps_seg.delta.swapping as swapping
from gps_seg.delta import Delta, fingerprint
from gps_seg.selection import Entries, Selection
from gps_seg.sparse import make_sparse

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
OTHERS = (torch.int64, torch.bool, torch.uint8, torch.uint16, torch.complex64)


def tensor_bytes(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def state_bytes(state: Mapping[str, Tensor]) -> dict[str, tuple]:
    return {n: (t.dtype, tuple(t.shape), tensor_bytes(t)) for n, t in state.items()}


def random_bits(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Any bits: nan of every payload, infinities, -0.0, subnormals."""
    if dtype == torch.bool:
        return torch.rand(shape) < 0.5
    size = torch.Size(shape).numel() * dtype.itemsize
    return torch.randint(256, (size,), dtype=torch.uint8).view(dtype).view(shape)


def copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def random_entries(shape: tuple[int, ...], groups: int, share: float) -> Entries:
    neurons = groups * shape[1] if groups else shape[0]
    inputs = torch.Size(shape).numel() // neurons
    return Entries.from_mask(torch.rand(neurons, inputs) < share, shape, groups)


def changed_at(tensor: Tensor, entries: Entries) -> Tensor:
    """The tensor with new random bits at the entries."""
    changed = tensor.clone().reshape(-1)
    changed[entries.storage_index()] = random_bits((entries.num,), tensor.dtype)
    return changed.view(tensor.shape)


@st.composite
def tunings(draw: st.DrawFn) -> tuple[dict[str, Tensor], dict[str, Tensor], Selection]:
    """A base, its tuned state, and a selection that covers a part of what changed."""
    torch.manual_seed(draw(st.integers(0, 2**32)))
    base: dict[str, Tensor] = {}
    tuned: dict[str, Tensor] = {}
    entries: dict[str, Entries] = {}
    for number in range(draw(st.integers(1, 5))):
        name = f'blocks.{number}.weight'
        kind = draw(st.sampled_from(['selected', 'sparse', 'whole', 'same']))
        if kind == 'selected':
            groups = draw(st.sampled_from([0, 0, 1, 2]))
            shape = draw(st.sampled_from([(4, 6), (6, 2, 3), (2, 3, 2, 2)]))
            entries[name] = random_entries(shape, groups, draw(st.sampled_from([0, 0.3, 1])))
            base[name] = random_bits(shape, draw(st.sampled_from(FLOATS)))
            tuned[name] = changed_at(base[name], entries[name])
        else:
            shape = draw(st.sampled_from([(), (0,), (5,), (3, 4), (40, 30), (2, 3, 2)]))
            base[name] = random_bits(shape, draw(st.sampled_from(FLOATS + OTHERS)))
            tuned[name] = base[name].clone()
            if kind == 'whole':
                tuned[name] = random_bits(shape, base[name].dtype)
            elif kind == 'sparse' and base[name].numel():
                tuned[name].reshape(-1)[:2] = random_bits((1,), base[name].dtype)
    return base, tuned, Selection(entries, {'criterion': 'random'})


@settings(max_examples=60, deadline=None)
@given(tuning=tunings(), verify=st.booleans(), through_file=st.booleans())
def test_a_swap_gives_the_tuned_bits_and_its_undo_the_base_bits(
    tmp_path_factory: pytest.TempPathFactory, tuning: tuple, verify: bool, through_file: bool
) -> None:
    base, tuned, selection = tuning
    delta = Delta.between(base, tuned, selection)
    if through_file:
        path = tmp_path_factory.mktemp('delta') / 'delta.safetensors'
        delta.save(path)
        delta = Delta.load(path)
    target = copied(base)
    undo = delta.swap(target, verify=verify)
    assert state_bytes(target) == state_bytes(tuned)
    redo = undo.swap(target)
    assert state_bytes(target) == state_bytes(base)
    redo.swap(target)
    assert state_bytes(target) == state_bytes(tuned)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_a_tuned_model_goes_there_and_back_in_every_precision(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(8, 8)).to(dtype)
    base = copied(model.state_dict())
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(8, 8)).to(dtype)
    other(torch.randn(2, 3, 10, 10, dtype=dtype))  # moves the batch statistics
    delta = Delta.between(base, other.state_dict())
    assert '1.running_mean' in delta.whole
    assert '1.num_batches_tracked' in delta.whole
    undo = delta.swap(model)
    assert state_bytes(model.state_dict()) == state_bytes(other.state_dict())
    undo.swap(model)
    assert state_bytes(model.state_dict()) == state_bytes(base)


def test_complex_numbers_of_two_doubles_are_compared_and_stored_too() -> None:
    base = {
        'w': torch.zeros(40, 30, dtype=torch.complex128),
        'v': torch.zeros(3, dtype=torch.complex128),
    }
    tuned = copied(base)
    tuned['w'][3, 4] = torch.tensor(complex(1, -2))
    delta = Delta.between(base, tuned)
    assert set(delta.whole) == {'w'}
    undo = delta.swap(base)
    assert torch.equal(base['w'], tuned['w'])
    undo.swap(base)
    assert not base['w'].any()


def test_a_bit_counts_as_a_difference_even_where_numbers_are_equal() -> None:
    base = {'zero': torch.tensor([0.0, 1.0]), 'nan': torch.tensor([float('nan')])}
    tuned = {'zero': torch.tensor([-0.0, 1.0]), 'nan': torch.tensor([float('nan')])}
    delta = Delta.between(base, tuned)
    assert set(delta.whole) == {'zero'}  # equal numbers of other bits; nan of the same bits
    delta.swap(base)
    assert torch.signbit(base['zero'][0])


def test_values_survive_where_differences_would_not() -> None:
    base, tuned = {'w': torch.randn(1000)}, {'w': torch.randn(1000)}
    sums = base['w'] + (tuned['w'] - base['w'])
    assert not torch.equal(sums, tuned['w'])
    Delta.between(base, tuned).swap(base)
    assert torch.equal(base['w'], tuned['w'])


def test_a_weight_that_changed_outside_its_selection_is_refused() -> None:
    base = {'w': torch.zeros(4, 6), 'b': torch.zeros(4)}
    entries = Entries.from_mask(torch.eye(4, 6, dtype=torch.bool), (4, 6))
    tuned = {'w': torch.eye(4, 6), 'b': torch.ones(4)}
    Delta.between(base, tuned, Selection({'w': entries}))
    tuned['w'][0, 5] = -0.0
    tuned['w'][3, 1] = 2
    with pytest.raises(ValueError, match='2 entries of w differ from the base without being sel'):
        Delta.between(base, tuned, Selection({'w': entries}))


def test_selected_entries_are_stored_even_where_they_did_not_move() -> None:
    base = {'w': torch.randn(4, 6)}
    entries = Entries.from_mask(torch.eye(4, 6, dtype=torch.bool), (4, 6))
    delta = Delta.between(base, copied(base), Selection({'w': entries}))
    assert torch.equal(delta.values['w'], base['w'].diagonal())
    assert not delta.whole


def test_what_was_not_selected_is_stored_the_smaller_way() -> None:
    base = {name: torch.zeros(64, 300) for name in ('few', 'many', 'one_row', 'untouched')}
    base['small'] = torch.zeros(4, 6)  # a header for its columns would cost more than it all
    tuned = copied(base)
    tuned['small'][0, 0] = 1
    tuned['few'][::2, 7] = 1
    tuned['many'][:, :210] = 1  # 70 % at 6 bytes are more than all at 4
    tuned['one_row'][5] = 1
    delta = Delta.between(base, tuned)
    assert set(delta.selection) == {'few', 'one_row'}
    assert set(delta.whole) == {'many', 'small'}
    assert delta.selection['few'].num == 32
    assert delta.num_bytes == 32 * (4 + 2) + 64 * 2 + 300 * (4 + 2) + 64 * 2 + (64 * 300 + 24) * 4


def test_num_bytes_counts_a_value_and_its_column() -> None:
    entries = Entries.from_mask(torch.eye(40, 300, dtype=torch.bool), (40, 300))
    for dtype, size in ((torch.float32, 4), (torch.bfloat16, 2)):
        state = {'w': torch.randn(40, 300).to(dtype)}
        delta = Delta.of(state, Selection({'w': entries}), (), base='0')
        assert delta.num_bytes == 40 * (size + 2)


def test_a_delta_shares_no_memory_with_the_states_it_came_from() -> None:
    base, tuned = {'b': torch.zeros(3)}, {'b': torch.ones(3)}
    for delta in (Delta.between(base, tuned), Delta.of(tuned, Selection({}), ['b'], base='0')):
        undo = delta.swap(base, verify=False)
        base['b'].fill_(9)
        tuned['b'].fill_(9)
        assert delta.whole['b'].tolist() == [1, 1, 1]
        assert undo.whole['b'].tolist() == [0, 0, 0]
        base['b'].fill_(0)
        tuned['b'].fill_(1)


def test_of_gives_what_between_gives() -> None:
    base = {'w': torch.randn(4, 6), 'b': torch.zeros(4), 'head': torch.randn(2)}
    entries = Entries.from_mask(torch.eye(4, 6, dtype=torch.bool), (4, 6))
    tuned = {'w': changed_at(base['w'], entries), 'b': torch.ones(4), 'head': torch.randn(2)}
    selection = Selection({'w': entries})
    between = Delta.between(base, tuned, selection, fresh={'head'}, metadata={'method': 'GPS'})
    own = fingerprint(base, {'w', 'b'})
    of = Delta.of(tuned, selection, {'b'}, base=own, fresh={'head'}, metadata={'method': 'GPS'})
    assert (of.base, of.fresh, of.metadata) == (between.base, between.fresh, between.metadata)
    assert state_bytes(of.values) == state_bytes(between.values)
    assert state_bytes(of.whole) == state_bytes(between.whole)


def test_the_fingerprint_sees_names_types_shapes_and_bits_but_not_order_or_strides() -> None:
    state = {'a': torch.zeros(2, 3), 'b': torch.ones(2)}
    own = fingerprint(state, state)
    assert own == fingerprint({'b': state['b'], 'a': state['a'].T.contiguous().T}, ['b', 'a'])
    others = [
        {'a': torch.zeros(3, 2), 'b': torch.ones(2)},
        {'a': torch.zeros(2, 3, dtype=torch.int32), 'b': torch.ones(2)},
        {'a': -torch.zeros(2, 3), 'b': torch.ones(2)},
        {'c': torch.zeros(2, 3), 'b': torch.ones(2)},
        {'a': torch.zeros(2, 3)},
    ]
    assert len({own, *(fingerprint(other, other) for other in others)}) == len(others) + 1


def test_a_wrong_base_is_refused_with_both_fingerprints_and_nothing_is_written() -> None:
    base, tuned = {'w': torch.zeros(3)}, {'w': torch.ones(3)}
    delta = Delta.between(base, tuned, metadata={'base_name': 'sam_vit_b_01ec64.pth'})
    other = {'w': torch.full((3,), 5.0)}
    both = f'{delta.base[:12]}.*sam_vit_b_01ec64.pth.*{fingerprint(other, other)[:12]}.*undo'
    with pytest.raises(ValueError, match=both):
        delta.swap(other)
    assert other['w'].tolist() == [5, 5, 5]
    delta.swap(other, verify=False)
    assert other['w'].tolist() == [1, 1, 1]


def test_a_second_delta_needs_the_undo_of_the_first() -> None:
    base = {'w': torch.zeros(3), 'b': torch.zeros(2)}
    first = Delta.between(base, {'w': torch.ones(3), 'b': torch.zeros(2)})
    second = Delta.between(base, {'w': torch.zeros(3), 'b': torch.ones(2)})
    undo = first.swap(base)
    with pytest.raises(ValueError, match='carries another delta, undo that one first'):
        second.swap(base)
    undo.swap(base)
    second.swap(base)
    assert (base['w'].tolist(), base['b'].tolist()) == ([0, 0, 0], [1, 1])


@pytest.mark.parametrize('verify', [True, False])
def test_an_undo_is_refused_where_its_values_were_changed(verify: bool) -> None:
    base = {'w': torch.zeros(300, 300), 'b': torch.zeros(2)}
    tuned = {'w': torch.eye(300), 'b': torch.ones(2)}
    delta = Delta.between(base, tuned)
    assert set(delta.values) == {'w'}
    for name in base:
        target = copied(base)
        undo = delta.swap(target, verify=verify)
        target[name].view(-1)[0] = 7
        before = state_bytes(target)
        with pytest.raises(ValueError, match='tuned state' if verify else f'{name} was changed'):
            undo.swap(target)
        assert state_bytes(target) == before
        undo.swap(target, verify=False)
        assert state_bytes(target) == state_bytes(base)


def test_the_undo_of_an_unverified_swap_cannot_be_saved(tmp_path: Path) -> None:
    base = {'w': torch.zeros(3)}
    undo = Delta.between(base, {'w': torch.ones(3)}).swap(base, verify=False)
    with pytest.raises(ValueError, match='verify=True to save'):
        undo.save(tmp_path / 'undo.safetensors')


@pytest.mark.parametrize(
    'target, cause',
    [
        ({'a': torch.zeros(2)}, 'no b'),
        ({'a': torch.zeros(2), 'b': torch.zeros(2, 3)}, r'b has the shape \(3,\).*\(2, 3\)'),
        ({'a': torch.zeros(2), 'b': torch.zeros(3).half()}, 'b is float32, where float16'),
    ],
)
def test_a_target_that_does_not_fit_is_refused_before_anything_is_written(
    target: dict[str, Tensor], cause: str
) -> None:
    tuned = {'a': torch.ones(2), 'b': torch.ones(3)}
    delta = Delta.between({'a': torch.zeros(2), 'b': torch.zeros(3)}, tuned)
    with pytest.raises(ValueError, match=cause):
        delta.swap(target, verify=False)
    assert target['a'].tolist() == [0, 0]


def test_selected_weights_of_another_shape_or_type_are_refused() -> None:
    entries = Entries.from_mask(torch.eye(4, 6, dtype=torch.bool), (4, 6))
    delta = Delta.of({'w': torch.ones(4, 6)}, Selection({'w': entries}), (), base='0')
    for wrong, cause in (
        (torch.zeros(6, 4), r'\(6, 4\).*\(4, 6\)'),
        (torch.zeros(4, 6).double(), 'w is float32, where float64'),
    ):
        with pytest.raises(ValueError, match=cause):
            delta.swap({'w': wrong}, verify=False)
        assert not wrong.any()


@pytest.mark.parametrize(
    'base, tuned, fresh, cause',
    [
        ({'a': 1}, {'a': 1, 'b': 1}, (), 'only the tuned one has b'),
        ({'a': 1, 'b': 1}, {'a': 1}, (), 'only the base has b'),
        ({'a': 1}, {'a': 2}, (), 'shape'),
        ({'a': 1}, {'a': 1}, ('b',), 'lacks the fresh tensors b'),
    ],
)
def test_states_of_different_models_have_no_delta(
    base: dict, tuned: dict, fresh: tuple, cause: str
) -> None:
    before, after = (
        {name: torch.zeros(size) for name, size in sizes.items()} for sizes in (base, tuned)
    )
    with pytest.raises(ValueError, match=cause):
        Delta.between(before, after, fresh=fresh)


def test_a_fresh_weight_cannot_be_selected_from() -> None:
    entries = Entries.from_mask(torch.eye(4, 6, dtype=torch.bool), (4, 6))
    with pytest.raises(ValueError, match='w is both selected from and stored whole'):
        Delta.of({'w': torch.ones(4, 6)}, Selection({'w': entries}), (), base='', fresh={'w'})


def test_fresh_parts_are_stored_whole_and_need_not_equal_those_of_the_target() -> None:
    base = {'encoder': torch.randn(3), 'head': torch.randn(2)}
    tuned = {'encoder': torch.randn(3), 'head': base['head'].clone()}
    delta = Delta.between(base, tuned, fresh={'head'})
    assert 'head' in delta.whole  # though it did not move
    other_start = {'encoder': base['encoder'].clone(), 'head': torch.randn(2)}
    before = state_bytes(other_start)
    undo = delta.swap(other_start)
    assert state_bytes(other_start) == state_bytes(tuned)
    undo.swap(other_start)
    assert state_bytes(other_start) == before


def test_fresh_parts_are_added_to_a_state_dict_and_removed_again(tmp_path: Path) -> None:
    base = {'encoder': torch.randn(3)}
    tuned = {'encoder': torch.randn(3), 'head': torch.randn(2)}
    delta = Delta.between(base, tuned, fresh={'head'})
    target: MutableMapping[str, Tensor] = copied(base)
    undo = delta.swap(target)
    assert state_bytes(target) == state_bytes(tuned)
    assert undo.absent == {'head'}
    assert target['head'].data_ptr() != delta.whole['head'].data_ptr()
    undo.save(tmp_path / 'undo.safetensors')
    redo = Delta.load(tmp_path / 'undo.safetensors').swap(target)
    assert state_bytes(target) == state_bytes(base)
    redo.swap(target)
    assert state_bytes(target) == state_bytes(tuned)


def test_a_model_cannot_gain_or_lose_parts() -> None:
    model = nn.Linear(3, 3)
    base = copied(model.state_dict())
    grown = {**base, 'head': torch.ones(2)}
    with pytest.raises(ValueError, match='no head'):
        Delta.between(base, grown, fresh={'head'}).swap(model)
    undo = Delta.between(base, grown, fresh={'head'}).swap(base)
    with pytest.raises(ValueError, match='works on a state dict'):
        undo.swap(model)


def test_a_swap_writes_in_place_whatever_the_memory_format() -> None:
    model = nn.Conv2d(8, 4, 3).to(memory_format=torch.channels_last)
    base = copied(model.state_dict())
    entries = random_entries((4, 8, 3, 3), 0, 0.2)
    tuned = {'weight': changed_at(base['weight'].contiguous(), entries), 'bias': torch.ones(4)}
    delta = Delta.between(base, tuned, Selection({'weight': entries}))
    pointer, strides = model.weight.data_ptr(), model.weight.stride()
    undo = delta.swap(model)
    assert state_bytes(model.state_dict()) == state_bytes(tuned)
    assert (model.weight.data_ptr(), model.weight.stride()) == (pointer, strides)
    undo.swap(model)
    assert state_bytes(model.state_dict()) == state_bytes(base)


def test_tied_weights_go_there_and_back() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    base = copied(model.state_dict())
    tuned = {**copied(base), '0.weight': torch.ones(4, 4), '1.weight': torch.ones(4, 4)}
    undo = Delta.between(base, tuned).swap(model)
    assert state_bytes(model.state_dict()) == state_bytes(tuned)
    undo.swap(model)
    assert state_bytes(model.state_dict()) == state_bytes(base)


def test_a_converted_model_trains_on_from_the_swapped_values() -> None:
    model = nn.Linear(6, 4)
    entries = random_entries((4, 6), 0, 0.4)
    base = copied(model.state_dict())
    tuned = {'weight': changed_at(torch.zeros(4, 6), entries), 'bias': torch.ones(4)}
    tuned['weight'] = torch.where(entries.mask(), torch.randn(4, 6), base['weight'])
    delta = Delta.between(base, tuned, Selection({'weight': entries}))
    make_sparse(model, Selection({'weight': entries}), whole=['bias'])
    undo = delta.swap(model)
    values = dict(model.named_parameters())['weight_values']
    assert torch.equal(values, tuned['weight'][entries.mask()])
    inputs = torch.randn(2, 6)
    expected = nn.functional.linear(inputs, tuned['weight'], tuned['bias'])
    assert torch.equal(model(inputs), expected)
    undo.swap(model)
    assert torch.equal(values, base['weight'][entries.mask()])
    assert state_bytes(model.state_dict()) == state_bytes(base)


def test_a_fast_swap_reads_no_whole_model_and_finds_its_places_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = {'w': torch.randn(4, 6)}
    entries = random_entries((4, 6), 0, 0.4)
    delta = Delta.between(base, copied(base), Selection({'w': entries}))
    calls = []
    index = Entries.storage_index

    def counted(entries: Entries) -> Tensor:
        calls.append(entries)
        return index(entries)

    monkeypatch.setattr(swapping, 'fingerprint', lambda *_: pytest.fail('read everything'))
    monkeypatch.setattr(Entries, 'storage_index', counted)
    for _ in range(3):
        delta.swap(base, verify=False).swap(base, verify=False)
    assert len(calls) == 1


def test_an_unverified_swap_reaches_buffers_too() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    base = copy.deepcopy(model.state_dict())
    tuned = copy.deepcopy(base)
    tuned['1.running_mean'] += 1
    tuned['0.bias'] += 1
    undo = Delta.between(base, tuned).swap(model, verify=False)
    assert all(torch.equal(tensor, tuned[name]) for name, tensor in model.state_dict().items())
    undo.swap(model, verify=False)
    assert all(torch.equal(tensor, base[name]) for name, tensor in model.state_dict().items())
