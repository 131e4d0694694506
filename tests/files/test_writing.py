"""What writing does on full disks, in read-only places, and when it is killed."""

import errno
import multiprocessing
import os
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import gps_seg.files.atomic as atomic
from gps_seg.cli.errors import one_line_errors
from gps_seg.files import (
    NotWritten,
    is_sealed,
    load_pickle,
    load_tensors,
    read_weights,
    remove_leftovers,
    save_tensors,
    seal,
    write_atomically,
    write_content,
)

NOBODY = 65534


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own of 256 KiB."""
    folder = tmp_path / 'small'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip('mounting a small disk is not allowed here')
    yield folder
    subprocess.run(['umount', '--lazy', str(folder)], check=True)


def big(number: int) -> dict[str, torch.Tensor]:
    return {f'w{index}': torch.randn(1 << 16) for index in range(number)}


def save_sealed(path: Path) -> None:
    def write(temporary: Path) -> None:
        torch.save(big(4), temporary)
        seal(temporary)

    write_atomically(path, write)


@pytest.mark.parametrize(
    'save',
    [
        lambda path: save_tensors(path, big(4), {}),
        save_sealed,
        lambda path: write_content(path, b'1' * (1 << 20)),
    ],
    ids=['tensors', 'checkpoint', 'content'],
)
def test_a_full_disk_is_one_line_and_the_old_file_stays(small_disk: Path, save: Any) -> None:
    path = small_disk / 'result'
    path.write_text('old')
    with pytest.raises(NotWritten) as raised:
        save(path)
    assert raised.value.errno == errno.ENOSPC
    assert str(raised.value) == (
        f'cannot write {path}: No space left on device; free some space or write to another disk '
        '(the old file is as it was)'
    )
    assert path.read_text() == 'old'
    assert os.listdir(small_disk) == ['result']


def test_a_read_only_disk_is_one_line(small_disk: Path) -> None:
    (small_disk / 'old').write_text('old')
    subprocess.run(['mount', '-o', 'remount,ro', str(small_disk)], check=True)
    for name, kept in (('old', 'the old file is as it was'), ('new', 'nothing was written')):
        with pytest.raises(NotWritten, match=rf'{name}: Read-only file system; .*may.*{kept}'):
            write_content(small_disk / name, 'new')
    with pytest.raises(NotWritten, match='Read-only file system'):
        write_content(small_disk / 'folder' / 'new', 'new')


def test_a_folder_without_permission_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / 'locked'
    folder.mkdir()
    (folder / 'old').write_text('old')
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:  # root may write everywhere
        os.seteuid(NOBODY)
    try:
        with pytest.raises(NotWritten, match=r'old: Permission denied; choose a folder that you'):
            write_content(folder / 'old', 'new')
    finally:
        if is_root:
            os.seteuid(0)
    assert os.listdir(folder) == ['old']
    assert (folder / 'old').read_text() == 'old'


def test_a_target_that_is_a_folder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / 'folder').mkdir()
    with pytest.raises(NotWritten, match='folder: Is a directory; name a file, not a folder'):
        write_atomically(tmp_path / 'folder', lambda temporary: pytest.fail('wrote'))


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with pytest.raises(NotWritten, match='a part of the path is a file'):
        write_content(tmp_path / 'file' / 'new', 'new')


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_what_a_library_cannot_write_is_one_line(tmp_path: Path, number: int) -> None:
    def write(temporary: Path) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(NotWritten, match=rf'new: {os.strerror(number)}; .*\(nothing was written\)'):
        write_atomically(tmp_path / 'new', write)
    assert not os.listdir(tmp_path)


def test_a_mistake_of_the_writer_passes_through(tmp_path: Path) -> None:
    def write(temporary: Path) -> None:
        raise KeyError('a bug')

    with pytest.raises(KeyError, match='a bug'):
        write_atomically(tmp_path / 'new', write)


@pytest.mark.parametrize(
    'error', [OSError(errno.ENOSPC, 'No space left on device'), NotWritten(errno.EROFS, 'said so')]
)
def test_commands_report_a_full_disk_in_one_line(
    capsys: pytest.CaptureFixture[str], error: OSError
) -> None:
    def main(argv: object) -> int:
        raise error

    assert one_line_errors(main)() == 2
    expected = 'said so' if isinstance(error, NotWritten) else 'No space left on device'
    assert capsys.readouterr().err == f'error: {expected}\n'


def test_commands_let_other_system_errors_through() -> None:
    def main(argv: object) -> int:
        raise OSError(errno.EMFILE, 'too many open files')

    with pytest.raises(OSError, match='too many open files'):
        one_line_errors(main)()


def test_a_file_is_on_the_disk_before_it_is_renamed_and_its_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append(f'sync {os.readlink(f"/proc/self/fd/{descriptor}")}')
        fsync(descriptor)

    def replaced(old: Path, new: Path) -> None:
        done.append(f'rename {old}')
        replace(old, new)

    monkeypatch.setattr(atomic.os, 'fsync', synced)
    monkeypatch.setattr(atomic.os, 'replace', replaced)
    write_content(tmp_path / 'new', 'content')
    temporary = done[0].removeprefix('sync ')
    assert Path(temporary).name == 'new'
    assert done == [f'sync {temporary}', f'rename {temporary}', f'sync {tmp_path}']


def _write_for_ever(path: Path, begun: Any) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text('half of i')
        begun.set()
        signal.pause()

    write_atomically(path, write)


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(
    tmp_path: Path,
) -> None:
    spawn = multiprocessing.get_context('fork')
    begun = spawn.Event()
    process = spawn.Process(target=_write_for_ever, args=(tmp_path / 'a', begun))
    process.start()
    try:
        assert begun.wait(60)
        write_content(tmp_path / 'a', 'new')
        assert remove_leftovers(tmp_path) == []
        assert len(os.listdir(tmp_path)) == 2
    finally:
        process.kill()
        process.join()
    (tmp_path / '.other.tmp').touch()  # no folder: not ours
    write_content(tmp_path / 'b', 'new')  # another file's leftovers are not its business
    assert len(os.listdir(tmp_path)) == 4
    write_content(tmp_path / 'a', 'newer')
    assert sorted(os.listdir(tmp_path)) == ['.other.tmp', 'a', 'b']


def test_leftovers_of_any_file_are_removed_on_demand(tmp_path: Path) -> None:
    for name in ('.a.x.tmp', '.b.safetensors.y.tmp', 'c.tmp', '.d'):
        (tmp_path / name).mkdir()
    removed = remove_leftovers(tmp_path)
    assert {path.name for path in removed} == {'.a.x.tmp', '.b.safetensors.y.tmp'}
    assert sorted(os.listdir(tmp_path)) == ['.d', 'c.tmp']


def test_a_sealed_checkpoint_is_an_ordinary_one_for_others(tmp_path: Path) -> None:
    path = tmp_path / 'last.pth'
    weight = torch.randn(5)
    torch.save({'state_dict': {'w': weight}, 'sealed': True}, path)
    assert not is_sealed(path)
    seal(path)
    assert is_sealed(path)
    for mmap in (False, True):
        loaded = torch.load(path, weights_only=True, mmap=mmap)
        assert torch.equal(loaded['state_dict']['w'], weight)
    assert torch.equal(read_weights(path)['w'], weight)
    assert zipfile.ZipFile(path).testzip() is None


def test_a_checkpoint_that_lost_its_seal_is_refused(tmp_path: Path) -> None:
    torch.save({'sealed': True}, tmp_path / 'last.pth')
    with pytest.raises(ValueError, match=r'last\.pth is damaged: its digest is lost'):
        load_pickle(tmp_path / 'last.pth')


def test_what_is_no_zip_file_cannot_be_sealed(tmp_path: Path) -> None:
    path = tmp_path / 'old.pth'
    torch.save({'w': 1}, path, _use_new_zipfile_serialization=False)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r'old\.pth does not end as a file of torch\.save does'):
        seal(path)
    assert path.read_bytes() == before


def test_digests_stay_out_of_the_metadata_and_files_without_them_still_load(
    tmp_path: Path,
) -> None:
    from safetensors.torch import save_file

    save_file({'w': torch.ones(2)}, tmp_path / 'plain.safetensors', {'key': 'value'})
    tensors, metadata = load_tensors(tmp_path / 'plain.safetensors')
    assert tensors['w'].tolist() == [1, 1]
    assert metadata == {'key': 'value'}
