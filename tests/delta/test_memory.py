"""Swapping into tensors that share memory: right, or refused before anything is written."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gps_seg.delta import Delta
from gps_seg.selection import Entries, Selection


def whole(**tensors: Tensor) -> Delta:
    return Delta.of(tensors, Selection({}), list(tensors), base='0')


@pytest.mark.parametrize('verify', [True, False])
def test_expanded_tensors_are_refused_before_anything_is_written(verify: bool) -> None:
    state = {'a': torch.zeros(3), 'b': torch.zeros(1, 4).expand(3, 4)}
    tuned = {'a': torch.ones(3), 'b': torch.arange(12.0).view(3, 4)}
    delta = Delta.between({n: t.clone() for n, t in state.items()}, tuned)
    with pytest.raises(ValueError, match=r'b cannot be written: several of its elements are one'):
        delta.swap(state, verify=verify)
    assert not any(tensor.any() for tensor in state.values())


@pytest.mark.parametrize('strides', [(1, 1), (0, 1), (2, 1), (1, 2)])
def test_tensors_that_overlap_themselves_are_refused(strides: tuple[int, int]) -> None:
    state = {'a': torch.zeros(20).as_strided((3, 4), strides)}
    places = {i * strides[0] + j * strides[1] for i in range(3) for j in range(4)}
    assert len(places) < 12
    with pytest.raises(ValueError, match='several of its elements are one'):
        whole(a=torch.ones(3, 4)).swap(state, verify=False)


@pytest.mark.parametrize('strides', [(4, 1), (1, 3), (5, 1), (6, 1), (2, 6)])
def test_tensors_with_holes_and_of_any_order_are_written(strides: tuple[int, int]) -> None:
    memory = torch.zeros(40)
    values = torch.arange(1.0, 13).view(3, 4)
    whole(a=values).swap({'a': memory.as_strided((3, 4), strides)}, verify=False)
    assert torch.equal(memory.as_strided((3, 4), strides), values)
    assert int(memory.count_nonzero()) == 12


@pytest.mark.parametrize('verify', [True, False])
def test_tied_weights_of_which_the_delta_changes_one_are_refused(verify: bool) -> None:
    apart = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    apart[1].load_state_dict(apart[0].state_dict())
    base = {name: tensor.clone() for name, tensor in apart.state_dict().items()}
    delta = Delta.between(base, {**base, '0.weight': torch.ones(4, 4)})
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied.load_state_dict(base)
    tied[1].weight = tied[0].weight
    with pytest.raises(ValueError, match=r'weight and \d.weight share memory in the target'):
        delta.swap(tied, verify=verify)
    assert torch.equal(tied.get_parameter('0.weight'), base['0.weight'])
    delta.swap(apart, verify=verify)
    assert torch.equal(apart.get_parameter('1.weight'), base['1.weight'])


def test_tied_weights_with_other_values_for_each_are_refused() -> None:
    weight = torch.zeros(3)
    state = {'a': weight, 'b': weight}
    with pytest.raises(ValueError, match='share memory'):
        whole(a=torch.ones(3), b=torch.ones(3) * 2).swap(state, verify=False)
    whole(a=torch.ones(3), b=torch.ones(3)).swap(state, verify=False)
    assert weight.tolist() == [1, 1, 1]


def test_slices_that_overlap_are_refused_and_such_that_do_not_are_written() -> None:
    memory = torch.zeros(6)
    delta = whole(a=torch.ones(3), b=torch.ones(3))
    with pytest.raises(ValueError, match=r'(a and b|b and a) share memory'):
        delta.swap({'a': memory[:3], 'b': memory[2:5]}, verify=False)
    with pytest.raises(ValueError, match='share memory'):
        whole(a=torch.ones(3)).swap({'a': memory[:3], 'rest': memory}, verify=False)
    assert not memory.any()
    delta.swap({'a': memory[:3], 'b': memory[3:]}, verify=False)
    assert memory.tolist() == [1] * 6


def test_tied_selected_weights_take_equal_values() -> None:
    entries = Entries.from_mask(torch.eye(4, 40, dtype=torch.bool), (4, 40))
    selection = Selection({'a': entries, 'b': entries})
    values = {'a': torch.ones(4), 'b': torch.ones(4)}
    weight = torch.zeros(4, 40)
    delta = Delta(selection, values, {}, '0', frozenset(), {}, frozenset())
    delta.swap({'a': weight, 'b': weight}, verify=False)
    assert weight.sum() == 4
    values['b'] = torch.zeros(4)
    delta = Delta(selection, values, {}, '0', frozenset(), {}, frozenset())
    with pytest.raises(ValueError, match='share memory'):
        delta.swap({'a': weight, 'b': weight}, verify=False)


def test_the_delta_of_a_tied_weight_names_it_everywhere() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        model.get_parameter('0.weight').fill_(3)
    names = [name for name, _ in model.named_parameters() if name.endswith('weight')]
    assert names == ['0.weight']
    delta = Delta.of(model.state_dict(), Selection({}), names, base='0')
    assert set(delta.whole) == {'0.weight', '1.weight'}
    delta.swap(base, verify=False)  # a state dict of clones
    assert torch.equal(base['1.weight'], torch.full((4, 4), 3.0))
    delta.swap(model, verify=False)


@pytest.mark.parametrize(
    'make, cause',
    [
        (lambda: torch.zeros(3, device='meta'), 'device meta'),
        (lambda: torch.zeros(3).to_sparse(), 'layout is torch.sparse_coo'),
    ],
)
def test_tensors_without_plain_memory_are_refused(make: Callable[[], Tensor], cause: str) -> None:
    first = torch.zeros(3)
    with pytest.raises(ValueError, match=f'z cannot be written: .*{cause}'):
        whole(a=torch.ones(3), z=torch.ones(3)).swap({'a': first, 'z': make()}, verify=False)
    assert not first.any()


def test_tensors_of_inference_mode_are_refused_outside_of_it() -> None:
    with torch.inference_mode():
        state = {'a': torch.zeros(3)}
    with pytest.raises(ValueError, match='made in inference mode'):
        whole(a=torch.ones(3)).swap(state, verify=False)
    with torch.inference_mode():
        whole(a=torch.ones(3)).swap(state, verify=False)
        assert state['a'].tolist() == [1, 1, 1]
