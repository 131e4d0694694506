import os
import pickle
import stat
from collections import OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from gps_seg.files import load_tensors, read_weights, save_tensors, write_atomically

TENSORS = {
    'weight': torch.arange(6, dtype=torch.bfloat16).view(2, 3),
    'column': torch.tensor([1, 65535]).to(torch.uint16),
    'scalar': torch.tensor(3),
    'none': torch.zeros(0, 4),
}


class RunsCode:
    def __reduce__(self) -> tuple:
        return print, ('a pickle ran code',)


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_saved_tensors_load_equal_here_and_in_safetensors(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'folder' / 't.safetensors'
    save_tensors(path, TENSORS, {'key': 'wörd'})
    found, metadata = load_tensors(path)
    assert_same(found, TENSORS)
    assert metadata == {'key': 'wörd'}
    assert_same(safetensors.torch.load_file(path), TENSORS)


def test_tied_sliced_and_strided_tensors_are_saved_in_full(tmp_path: Path) -> None:
    weight = torch.arange(12.0, requires_grad=True).view(3, 4)
    tensors = {'one': weight, 'tied': weight, 'slice': weight[1:], 'transposed': weight.T}
    save_tensors(tmp_path / 't.safetensors', tensors, {})
    found, _ = load_tensors(tmp_path / 't.safetensors')
    assert_same(found, {name: tensor.detach() for name, tensor in tensors.items()})


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / 'result.txt'
    path.write_text('old')

    def write(temporary: Path) -> None:
        temporary.write_text('half of the n')
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, write)
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['result.txt']


def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / 'ordinary').touch()
    write_atomically(tmp_path / 'ours', lambda temporary: None)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ('ordinary', 'ours')]
    assert modes[0] == modes[1]


@pytest.mark.parametrize('length', [0, 4, 40, -1])
def test_a_truncated_safetensors_file_is_an_error_that_names_it(
    tmp_path: Path, length: int
) -> None:
    path = tmp_path / 'cut.safetensors'
    save_tensors(path, TENSORS, {})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r'cut.safetensors is not a complete'):
        read_weights(path)


@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(FileNotFoundError, match=f'gone.{suffix}'):
        read_weights(tmp_path / f'gone.{suffix}')


@pytest.mark.parametrize('wrapper', [(), ('state_dict',), ('model',), ('state_dict', 'model')])
def test_wrapped_weights_are_unwrapped(tmp_path: Path, wrapper: tuple[str, ...]) -> None:
    content: object = OrderedDict(TENSORS)
    for key in wrapper:
        content = {key: content, 'epoch': 3}
    torch.save(content, tmp_path / 'w.pth')
    assert_same(read_weights(tmp_path / 'w.pth'), TENSORS)


def test_a_pickle_that_runs_code_is_refused_without_running_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({'state_dict': RunsCode()}, tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match=r'evil.pth cannot be read as weights alone'):
        read_weights(tmp_path / 'evil.pth')
    (tmp_path / 'plain.pth').write_bytes(pickle.dumps(RunsCode()))
    with pytest.raises(ValueError, match=r'plain.pth cannot be read as weights alone'):
        read_weights(tmp_path / 'plain.pth')
    assert 'ran code' not in capsys.readouterr().out


@pytest.mark.parametrize('seed', range(20))
def test_damaged_pickles_are_errors_that_name_the_file(tmp_path: Path, seed: int) -> None:
    path = tmp_path / 'damaged.pth'
    torch.save(TENSORS, path)
    generator = torch.Generator().manual_seed(seed)
    if seed % 2:
        length = int(torch.randint(len(path.read_bytes()) - 1, (), generator=generator))
        path.write_bytes(path.read_bytes()[:length])
    else:
        noise = torch.randint(256, (200,), generator=generator, dtype=torch.uint8)
        path.write_bytes(noise.numpy().tobytes())
    with pytest.raises(ValueError, match=r'damaged.pth cannot be read'):
        read_weights(path)


@pytest.mark.parametrize('content', [[torch.zeros(1)], {'epoch': 3}, {'a': {'b': torch.zeros(1)}}])
def test_a_pickle_without_named_tensors_is_no_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=r'other.pth does not hold a state dict'):
        read_weights(tmp_path / 'other.pth')
