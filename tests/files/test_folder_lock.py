"""One process at a time writes in a folder, however the one before ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gps_seg.files import (
    LOCK,
    FolderInUse,
    NotWritten,
    folder_lock,
    folders_released,
    lock_folder,
    release_folders,
    this_process,
)


@pytest.fixture(autouse=True)
def nothing_stays_locked() -> Iterator[None]:
    yield
    release_folders()


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(folder_lock.errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(folder_lock.fcntl, 'flock', refuse)


def in_a_fork(run: Callable[[], None]) -> int:
    """Run something in a process of its own. Returns its number, once it has run."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            run()
            os.write(writer, b'x')
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b'x'
    os.close(reader)
    return child


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def write_lock(folder: Path, **content: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / LOCK).write_text(json.dumps(content))


def test_a_second_process_is_refused_and_told_who_is_there_and_since_when(tmp_path: Path) -> None:
    child = in_a_fork(lambda: lock_folder(tmp_path))
    today = time.strftime('%Y-%m-%d')
    host = os.uname().nodename
    with pytest.raises(FolderInUse, match=f'written by process {child} on {host}, since {today} '):
        lock_folder(tmp_path)
    kill(child)
    lock_folder(tmp_path)


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    kill(in_a_fork(lambda: lock_folder(tmp_path)))
    assert (tmp_path / LOCK).is_file()
    lock_folder(tmp_path)
    assert json.loads((tmp_path / LOCK).read_text())['pid'] == os.getpid()


def test_the_children_of_a_killed_process_do_not_hold_its_lock(tmp_path: Path) -> None:
    orphans = tmp_path / 'orphan.txt'

    def lock_and_fork() -> None:
        lock_folder(tmp_path)
        orphan = os.fork()
        if not orphan:
            signal.pause()
        orphans.write_text(str(orphan))

    kill(in_a_fork(lock_and_fork))
    try:
        lock_folder(tmp_path)
    finally:
        os.kill(int(orphans.read_text()), signal.SIGKILL)


def test_a_child_that_ends_does_not_release_the_lock_of_its_parent(tmp_path: Path) -> None:
    lock_folder(tmp_path)
    child = os.fork()
    if not child:
        release_folders()
        os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / LOCK).is_file()

    def try_it() -> None:
        with pytest.raises(FolderInUse):
            lock_folder(tmp_path)

    kill(in_a_fork(try_it))


def test_a_process_may_lock_its_folder_again_under_another_name(tmp_path: Path) -> None:
    (tmp_path / 'link').symlink_to(tmp_path)
    lock_folder(tmp_path)
    lock_folder(tmp_path / 'link')
    release_folders()
    assert not (tmp_path / LOCK).exists()


def test_a_release_leaves_no_trace(tmp_path: Path) -> None:
    new, old, used = tmp_path / 'new', tmp_path / 'old', tmp_path / 'used'
    old.mkdir()
    with folders_released():
        for folder in (new, old, used):
            lock_folder(folder)
        (used / 'file').touch()
    assert sorted(tmp_path.rglob('*')) == [old, used, used / 'file']


def test_only_what_was_locked_inside_is_released(tmp_path: Path) -> None:
    lock_folder(tmp_path / 'outer')
    with folders_released():
        lock_folder(tmp_path / 'inner')
    assert (tmp_path / 'outer' / LOCK).exists()
    assert not (tmp_path / 'inner').exists()


@pytest.mark.slow
def test_the_end_of_the_program_releases(tmp_path: Path) -> None:
    code = f'from gps_seg.files.folder_lock import lock_folder; lock_folder({str(tmp_path)!r})'
    subprocess.run([sys.executable, '-c', code], check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('content', ['', '{', '[]', '{}', '{"pid": "x"}'])
def test_a_lock_file_that_cannot_be_read_holds_nobody_up(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK).write_text(content)
    lock_folder(tmp_path)


def test_the_lock_of_another_machine_is_believed_and_says_what_to_remove(tmp_path: Path) -> None:
    write_lock(tmp_path, host='elsewhere', pid=7, started='1', since='yesterday')
    remove = f'remove {tmp_path / LOCK} and start again'
    with pytest.raises(FolderInUse, match=f'process 7 on elsewhere, since yesterday.*{remove}'):
        lock_folder(tmp_path)
    (tmp_path / LOCK).unlink()
    lock_folder(tmp_path)


def test_a_process_that_took_the_number_of_a_dead_one_is_not_mistaken_for_it(
    tmp_path: Path, without_locks: None
) -> None:
    write_lock(tmp_path, **{**this_process(), 'started': '1'})
    lock_folder(tmp_path)


def test_without_locks_of_the_file_system_a_living_process_is_respected(
    tmp_path: Path, without_locks: None
) -> None:
    child = in_a_fork(lambda: lock_folder(tmp_path))
    with pytest.raises(FolderInUse, match=f'process {child} on'):
        lock_folder(tmp_path)
    kill(child)
    lock_folder(tmp_path)
    assert json.loads((tmp_path / LOCK).read_text())['pid'] == os.getpid()


def test_one_of_many_processes_gets_the_lock_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each adds one to a number without any other care: lost additions would be seen."""
    counter = tmp_path / 'counter'
    counter.write_text('0')

    def count() -> None:
        done = 0
        while done < 20:
            try:
                lock_folder(tmp_path)
            except FolderInUse:
                continue
            counter.write_text(str(int(counter.read_text()) + 1))
            release_folders()
            done += 1

    monkeypatch.setattr(folder_lock, 'PATIENCE', 0.001)
    children = []
    for _ in range(4):
        child = os.fork()
        if not child:
            try:
                count()
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert counter.read_text() == '80'


def test_a_place_that_cannot_be_a_folder_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with pytest.raises(NotWritten, match='a part of the path is a file'):
        lock_folder(tmp_path / 'file' / 'run')
