"""Deltas that leave out what did not move, and that are stored in fewer bits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gps_seg.delta import Delta, fingerprint
from gps_seg.selection import Entries, Selection


def diagonal(rows: int = 6, columns: int = 50) -> Entries:
    return Entries.from_mask(torch.eye(rows, columns, dtype=torch.bool), (rows, columns))


def states() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    base = {
        'w': torch.randn(6, 50),
        'b': torch.randn(6),
        'head': torch.randn(3, 3),
        'half': torch.randn(5).half(),
        'count': torch.tensor(3),
    }
    tuned = {n: torch.randn_like(t) if t.is_floating_point() else t + 1 for n, t in base.items()}
    tuned['w'] = torch.where(diagonal().mask(), tuned['w'], base['w'])
    return base, tuned


def rounded(tensor: Tensor) -> np.ndarray:
    """To the nearest bfloat16, ties to even, by the bits of float32."""
    bits = tensor.numpy().view(np.uint32).astype(np.int64)
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
    return nearest.astype(np.uint32).view(np.float32).reshape(tensor.shape)


@pytest.mark.parametrize('through_file', [True, False])
def test_swapping_a_rounded_delta_writes_rounded_values_in_the_precision_of_the_base(
    tmp_path: Path, through_file: bool
) -> None:
    base, tuned = states()
    full = Delta.between(base, tuned, Selection({'w': diagonal()}), fresh={'head'})
    delta = full.to(torch.bfloat16)
    if through_file:
        full.save(tmp_path / 'd.safetensors', dtype=torch.bfloat16)
        loaded = Delta.load(tmp_path / 'd.safetensors')
        assert loaded.num_bytes == delta.num_bytes
        delta = loaded
    target = {name: tensor.clone() for name, tensor in base.items()}
    undo = delta.swap(target)
    for name in ('b', 'head'):
        assert np.array_equal(target[name].numpy(), rounded(tuned[name]))
        assert target[name].dtype == torch.float32
    mask = diagonal().mask()
    assert np.array_equal(target['w'][mask].numpy(), rounded(tuned['w'][mask]))
    assert torch.equal(target['w'][~mask], base['w'][~mask])
    assert torch.equal(target['half'], tuned['half'])  # no wider than bfloat16
    assert target['count'] == 4
    undo.swap(target)
    assert all(torch.equal(target[name], base[name]) for name in base)
    assert fingerprint(target, base.keys() - {'head'}) == full.base


def test_a_file_of_rounded_values_takes_their_bytes(tmp_path: Path) -> None:
    base, tuned = states()
    full = Delta.between(base, tuned, Selection({'w': diagonal()}))
    full.save(tmp_path / 'd.safetensors', dtype=torch.bfloat16)
    stored = load_file(tmp_path / 'd.safetensors')
    assert stored['values/float32'].dtype == torch.bfloat16
    assert stored['whole/b'].dtype == torch.bfloat16
    assert stored['whole/half'].dtype == torch.float16
    sizes = full.num_bytes - full.to(torch.bfloat16).num_bytes
    assert sizes == 2 * (6 + 6 + 9)


def test_a_rounded_delta_saved_twice_is_the_same(tmp_path: Path) -> None:
    base, tuned = states()
    Delta.between(base, tuned).save(tmp_path / 'a.safetensors', dtype=torch.bfloat16)
    Delta.load(tmp_path / 'a.safetensors').save(tmp_path / 'b.safetensors')
    first, second = (load_file(tmp_path / f'{name}.safetensors') for name in 'ab')
    assert first.keys() == second.keys()
    assert all(torch.equal(first[n], t) and first[n].dtype == t.dtype for n, t in second.items())


def test_values_too_large_for_the_type_and_types_without_a_fraction_are_refused() -> None:
    delta = Delta.of({'a': torch.tensor([1e6])}, Selection({}), ['a'], base='0')
    with pytest.raises(ValueError, match=r'a holds values that are too large for torch\.float16'):
        delta.to(torch.float16)
    with pytest.raises(ValueError, match='choose a floating-point type'):
        delta.to(torch.int8)
    # The largest number of this one is 448, and it has no infinity.
    with pytest.raises(ValueError, match='too large'):
        delta.to(torch.float8_e4m3fn)
    undo = delta.swap({'a': torch.zeros(1)}, verify=False)
    with pytest.raises(ValueError, match='cannot be rounded'):
        undo.to(torch.bfloat16)
    infinite = Delta.of({'a': torch.tensor([float('inf')])}, Selection({}), ['a'], base='0')
    assert infinite.to(torch.float16).whole['a'].isinf().all()


def test_tensors_that_equal_the_known_base_are_left_out() -> None:
    base, tuned = states()
    tuned['b'], tuned['head'] = base['b'].clone(), base['head'].clone()
    known = {name: base[name] for name in ('b', 'head', 'half')}
    delta = Delta.of(
        tuned, Selection({}), ['b', 'half', 'count'], base='0', fresh=['head'], base_values=known
    )
    assert set(delta.whole) == {'half', 'count', 'head'}  # the head is fresh: stored in any case
    known['half'] = tuned['half'].float()  # another dtype is another tensor
    delta = Delta.of(tuned, Selection({}), ['half'], base='0', base_values=known)
    assert set(delta.whole) == {'half'}


def test_a_bit_is_enough_to_be_stored() -> None:
    known = {'a': torch.tensor([0.0, 1.0])}
    delta = Delta.of(
        {'a': torch.tensor([-0.0, 1.0])}, Selection({}), ['a'], base='0', base_values=known
    )
    assert set(delta.whole) == {'a'}


def test_selected_weights_none_of_whose_entries_moved_are_left_out() -> None:
    base = {'w': torch.randn(6, 50), 'v': torch.randn(6, 50)}
    tuned = {'w': base['w'].clone(), 'v': base['v'] + 1}
    selection = Selection({'w': diagonal(), 'v': diagonal()}, {'criterion': 'x'})
    known = {name: tensor.diagonal().clone() for name, tensor in base.items()}
    delta = Delta.of(tuned, selection, (), base='0', base_values=known)
    assert set(delta.selection) == {'v'}
    assert delta.selection.provenance == {'criterion': 'x'}
    assert torch.equal(delta.values['v'], tuned['v'].diagonal())


def test_a_file_of_the_first_format_reads_with_a_warning(tmp_path: Path) -> None:
    import json

    from safetensors.torch import save_file

    about = {'base': 'ab', 'fresh': [], 'absent': [], 'dtypes': 'float32'}
    metadata = {
        'format': 'gps_seg.delta/1',
        'delta': json.dumps(about),
        'entries': json.dumps({'w': {'shape': [3, 50], 'per_neuron': 1}}),
        'provenance': '{}',
        'metadata': json.dumps({'method': 'GPS'}),
    }
    tensors = {
        'selection/w/columns': torch.tensor([4, 0, 9], dtype=torch.uint8),
        'values/float32': torch.tensor([1.0, 2.0, 3.0]),
        'whole/b': torch.ones(2),
    }
    path = tmp_path / 'old.safetensors'
    save_file(tensors, path, metadata)
    with pytest.warns(UserWarning, match=r'old\.safetensors is of the older format .*delta/1'):
        delta = Delta.load(path)
    target = {'w': torch.zeros(3, 50), 'b': torch.zeros(2)}
    delta.swap(target, verify=False)
    assert [float(target['w'][row, column]) for row, column in ((0, 4), (1, 0), (2, 9))] == [
        1,
        2,
        3,
    ]
    assert delta.added == {}
    save_file({**tensors, 'other': torch.ones(1)}, path, metadata)
    with pytest.raises(ValueError, match=r'old\.safetensors is damaged .*unknown tensor other'):
        Delta.load(path)
    save_file(tensors, path, {**metadata, 'more': ''})
    with pytest.raises(ValueError, match=r"old\.safetensors is damaged: 'more' is unknown"):
        Delta.load(path)
    del about['dtypes']
    save_file(tensors, path, {**metadata, 'delta': json.dumps(about)})
    with pytest.raises(ValueError, match=r'unknown or missing keys'):
        Delta.load(path)
