import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import gps_seg.files.tensors
from gps_seg.delta import Delta
from gps_seg.files import load_tensors, read_weights, save_tensors
from gps_seg.selection import Entries, Selection


def one_per_neuron(neurons: int, inputs: int) -> Entries:
    columns = torch.arange(neurons) % inputs
    return Entries(columns, torch.ones(neurons, dtype=torch.int64), (neurons, inputs))


def example(dtype: torch.dtype = torch.float32) -> Delta:
    state = {
        'narrow.weight': torch.randn(9, 256).to(dtype),
        'wide.weight': torch.randn(9, 257).to(dtype),
        'bias': torch.randn(9).to(dtype),
        'head': torch.randn(2, 2).to(dtype),
    }
    selection = Selection(
        {'wide.weight': one_per_neuron(9, 257), 'narrow.weight': one_per_neuron(9, 256)},
        {'criterion': 'random', 'seed': '0'},
    )
    metadata = {'method': 'GPS', 'config': 'a = 1\nb = "ü"'}
    return Delta.of(state, selection, ['bias'], base='ab', fresh=['head'], metadata=metadata)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_a_loaded_delta_is_the_saved_one(tmp_path: Path, dtype: torch.dtype) -> None:
    delta = example(dtype)
    delta.save(tmp_path / 'd.safetensors')
    loaded = Delta.load(tmp_path / 'd.safetensors')
    assert list(loaded.selection) == list(delta.selection)
    assert loaded.selection.provenance == delta.selection.provenance
    for name, values in delta.values.items():
        assert torch.equal(loaded.values[name], values)
        assert loaded.values[name].dtype == dtype
        assert torch.equal(loaded.selection[name].mask(), delta.selection[name].mask())
    assert loaded.whole.keys() == {'bias', 'head'}
    assert all(torch.equal(loaded.whole[name], delta.whole[name]) for name in loaded.whole)
    for field in ('base', 'fresh', 'absent', 'metadata', 'num_bytes'):
        assert getattr(loaded, field) == getattr(delta, field)


def test_columns_take_the_smallest_unsigned_integers(tmp_path: Path) -> None:
    example().save(tmp_path / 'd.safetensors')
    tensors = load_file(tmp_path / 'd.safetensors')
    assert tensors['selection/narrow.weight/columns'].dtype == torch.uint8
    assert tensors['selection/wide.weight/columns'].dtype == torch.uint16


def test_values_of_several_dtypes_find_their_weights_again(tmp_path: Path) -> None:
    dtypes = [torch.float32, torch.bfloat16, torch.float32, torch.float16]
    state = {f'w{i}': torch.randn(5, 300).to(dtype) for i, dtype in enumerate(dtypes)}
    delta = Delta.of(state, Selection({n: one_per_neuron(5, 300) for n in state}), (), base='ab')
    delta.save(tmp_path / 'd.safetensors')
    loaded = Delta.load(tmp_path / 'd.safetensors')
    for name, dtype in zip(state, dtypes, strict=True):
        assert loaded.values[name].dtype == dtype
        assert torch.equal(loaded.values[name], state[name].diagonal())


@pytest.mark.parametrize('dtype, limit', [(torch.float32, 6.2), (torch.bfloat16, 4.2)])
def test_an_entry_of_a_vit_b_takes_little_more_than_its_value_and_column(
    tmp_path: Path, dtype: torch.dtype, limit: float
) -> None:
    layers = {'attn.qkv': (2304, 768), 'attn.proj': (768, 768)}
    layers |= {'mlp.lin1': (3072, 768), 'mlp.lin2': (768, 3072)}
    selection = Selection(
        {
            f'image_encoder.blocks.{block}.{layer}.weight': one_per_neuron(*shape)
            for block in range(12)
            for layer, shape in layers.items()
        }
    )
    values = {name: torch.randn(entries.num).to(dtype) for name, entries in selection.items()}
    delta = Delta(selection, values, {}, '0' * 64, frozenset(), {}, frozenset())
    delta.save(tmp_path / 'd.safetensors')
    assert (tmp_path / 'd.safetensors').stat().st_size <= limit * selection.num_entries


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'd.safetensors'
    example().save(path)
    content = path.read_bytes()
    for length in (0, 5, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r'd\.safetensors is not a complete'):
            Delta.load(path)


def test_another_format_version_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / 'd.safetensors'
    example().save(path)
    tensors, metadata = load_tensors(path)
    save_tensors(path, tensors, metadata | {'format': 'gps_seg.delta/3'})
    with pytest.raises(
        ValueError, match=r'format gps_seg\.delta/3, this version reads .*delta/1, .*delta/2'
    ):
        Delta.load(path)


def test_a_file_of_another_kind_is_no_delta(tmp_path: Path) -> None:
    save_file({'w': torch.zeros(2)}, tmp_path / 'weights.safetensors')
    with pytest.raises(ValueError, match=r'weights\.safetensors is no delta \(format unknown\)'):
        Delta.load(tmp_path / 'weights.safetensors')
    example().selection.save(tmp_path / 's.safetensors')
    with pytest.raises(ValueError, match=r'is no delta \(format gps_seg\.selection/2\)'):
        Delta.load(tmp_path / 's.safetensors')


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'gone\.safetensors'):
        Delta.load(tmp_path / 'gone.safetensors')


@pytest.mark.parametrize('lost', ['selection/wide.weight/columns', 'values/float32', 'whole/head'])
def test_a_file_that_lost_a_tensor_is_called_damaged(tmp_path: Path, lost: str) -> None:
    path = tmp_path / 'd.safetensors'
    example().save(path)
    tensors, metadata = load_tensors(path)
    del tensors[lost]
    save_tensors(path, tensors, metadata)
    with pytest.raises(ValueError, match=r'd\.safetensors is damaged'):
        Delta.load(path)


@pytest.mark.parametrize('key, value', [('delta', '{}'), ('delta', 'no json'), ('entries', '[]')])
def test_a_file_with_damaged_metadata_is_called_damaged(
    tmp_path: Path, key: str, value: str
) -> None:
    path = tmp_path / 'd.safetensors'
    example().save(path)
    tensors, metadata = load_tensors(path)
    save_tensors(path, tensors, metadata | {key: value})
    with pytest.raises(ValueError, match=r'd\.safetensors is damaged'):
        Delta.load(path)


def test_an_interrupted_save_leaves_the_old_delta(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'd.safetensors'
    example().save(path)
    before = path.read_bytes()

    def half(tensors: dict, temporary: Path, metadata: dict) -> None:
        temporary.write_bytes(before[:50])
        raise OSError('no space left on device')

    monkeypatch.setattr(gps_seg.files.tensors, 'save_file', half)
    with pytest.raises(OSError, match='no space'):
        example().save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ['d.safetensors']


def test_the_metadata_is_plain_json_for_other_readers(tmp_path: Path) -> None:
    example().save(tmp_path / 'd.safetensors')
    with safe_open(tmp_path / 'd.safetensors', framework='np') as file:
        metadata = file.metadata()
    assert json.loads(metadata['metadata'])['method'] == 'GPS'
    assert json.loads(metadata['delta'])['fresh'] == ['head']


@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
def test_swapping_into_a_loaded_state_leaves_the_file_alone(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f'base.{suffix}'
    base = {'w': torch.zeros(300, 300), 'b': torch.zeros(4)}
    if suffix == 'pth':
        torch.save(base, path)
    else:
        save_tensors(path, base, {})
    before = path.read_bytes()
    state = read_weights(path)
    Delta.between(base, {'w': torch.eye(300), 'b': torch.ones(4)}).swap(state)
    assert torch.equal(state['w'], torch.eye(300))
    assert path.read_bytes() == before
