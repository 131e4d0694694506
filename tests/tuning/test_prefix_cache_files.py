"""What a prefix cache does to its files: kills, damage, several processes, full disks."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gps_seg.files import NotWritten
from gps_seg.tuning.prefix_cache.store import HEADER, Store
from tests.tuning.fill_a_cache import BATCH, NUM_BATCHES, batches, filled

NUM = NUM_BATCHES * BATCH
CONTENT = 40


def key(number: int) -> bytes:
    return bytes([number]) * 32


def content(number: int) -> bytes:
    return bytes(range(number, number + CONTENT))


def written(folder: Path, num: int = 3) -> Path:
    store = Store(folder, CONTENT)
    for number in range(num):
        store.append(key(number), content(number))
    store.close()
    return only_file(folder)


def only_file(folder: Path) -> Path:
    (path,) = folder.rglob('*.features')
    return path


def fill_in_another_process(folder: Path, die_in: int = 0) -> 'subprocess.Popen[str]':
    # By import: as __main__ the model's class would be another one, with a cache of its own.
    code = f'from tests.tuning.fill_a_cache import main; main({str(folder)!r}, {die_in})'
    root = Path(__file__).parents[2]
    environment = {**os.environ, 'PYTHONPATH': str(root)}
    return subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', code],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_what_is_written_is_read_by_the_next(tmp_path: Path) -> None:
    written(tmp_path)
    store = Store(tmp_path, CONTENT)
    assert [store.read(key(n)) for n in range(3)] == [bytearray(content(n)) for n in range(3)]
    assert store.read(key(9)) is None
    assert store.absent([key(1), key(9)]) == [key(9)]
    assert store.size == 3 * (HEADER + CONTENT)
    store.close()


@pytest.mark.parametrize('lost', [1, CONTENT, CONTENT + HEADER - 1])
def test_a_record_that_was_cut_off_is_not_there(tmp_path: Path, lost: int) -> None:
    path = written(tmp_path)
    os.truncate(path, path.stat().st_size - lost)
    store = Store(tmp_path, CONTENT)
    assert store.absent([key(n) for n in range(3)]) == [key(2)]
    store.append(key(2), content(2))
    store.close()
    again = Store(tmp_path, CONTENT)
    assert again.read(key(2)) == bytearray(content(2))
    again.close()


@pytest.mark.parametrize('place', [0, 31, 32, 63, 64, HEADER + CONTENT - 1])
def test_no_flipped_bit_is_read(tmp_path: Path, place: int) -> None:
    path = written(tmp_path)
    damaged = bytearray(path.read_bytes())
    damaged[HEADER + CONTENT + place] ^= 4
    path.write_bytes(damaged)
    store = Store(tmp_path, CONTENT)
    assert store.absent([key(n) for n in range(3)]) == [key(1)]
    assert store.is_damaged(key(1)) == (place >= 32)  # another key's otherwise
    store.append(key(1), content(1))
    assert store.read(key(1)) == bytearray(content(1)) and not store.is_damaged(key(1))
    store.close()


def test_a_file_that_is_cut_off_while_it_is_read_does_not_end_the_process(tmp_path: Path) -> None:
    path = written(tmp_path)
    store = Store(tmp_path, CONTENT)
    assert store.read(key(2)) is not None
    os.truncate(path, 10)
    assert store.read(key(2)) is None
    path.unlink()
    assert store.read(key(0)) is None
    store.close()


def test_two_writers_see_each_other_and_one_claims(tmp_path: Path) -> None:
    first, second = Store(tmp_path, CONTENT), Store(tmp_path, CONTENT)
    with first.claim([key(0)], wait=False) as mine, second.claim([key(0)], wait=False) as too:
        assert (mine, too) == (True, False)
        with second.claim([key(1)], wait=False) as other:
            assert other
        first.append(key(0), content(0))
    with second.claim([key(0)], wait=True) as mine:
        assert mine and second.read(key(0)) is None
        second.refresh()
        assert second.read(key(0)) == bytearray(content(0))
    assert list((tmp_path / 'claims').iterdir()) == []
    first.close()
    second.close()


def test_a_full_disk_is_named_and_leaves_only_whole_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, done = os.write, [0]

    def full(descriptor: int, content: Any) -> int:
        done[0] += 1
        if done[0] == 6:
            return write(descriptor, bytes(content)[:50])  # a part, as a disk that runs full does
        if done[0] > 6:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return write(descriptor, content)

    with monkeypatch.context() as patched:
        patched.setattr(os, 'write', full)
        with pytest.raises(NotWritten, match='free some space'):
            filled(tmp_path)
    with filled(tmp_path) as cache:
        assert cache.filled.computed == NUM - 5
        assert only_or_more(cache.folder) == NUM * cache.store.record


def only_or_more(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob('*.features'))


def test_damage_is_noticed_at_the_start_and_computed_again(tmp_path: Path) -> None:
    with filled(tmp_path) as cache:
        record, folder = cache.store.record, cache.folder
    path = only_file(folder)
    damaged = bytearray(path.read_bytes())
    damaged[3 * record + 100] ^= 1
    path.write_bytes(damaged[: -record // 2])
    with filled(tmp_path) as again:
        assert (again.filled.computed, again.filled.repaired) == (2, 1)
        assert again.tuning.model.train()(batches()[1]).isfinite().all()
        assert again.tuning.model(batches()[-1]).isfinite().all()


def test_damage_while_a_training_runs_ends_it(tmp_path: Path) -> None:
    with filled(tmp_path) as cache:
        path = only_file(cache.folder)
        with open(path, 'r+b') as file:
            file.seek(200)
            file.write(b'xxxx')
        cache.tuning.model.train()(batches()[1])
        with pytest.raises(ValueError, match=r'damaged while the training ran.*start it again'):
            cache.tuning.model(batches()[0])


def test_more_than_the_limit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    # 24 images of 3 x 8 x 8 floats, each with its header.
    needed = NUM * (3 * 8 * 8 * 4 + HEADER)
    with pytest.raises(ValueError, match=r'19\.5 KiB.*raise cache_limit, store fewer views'):
        filled(tmp_path, cache_limit=needed - 1)
    assert only_or_more(tmp_path) == 0
    with filled(tmp_path, cache_limit=needed) as cache:
        assert only_or_more(cache.folder) == needed


def test_by_default_half_of_the_free_disk_is_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gps_seg.tuning.prefix_cache import filling

    class Usage:
        free = 2 * NUM * (3 * 8 * 8 * 4 + HEADER) - 1

    monkeypatch.setattr(filling.shutil, 'disk_usage', lambda path: Usage)
    with pytest.raises(ValueError, match='half of the free disk'):
        filled(tmp_path)
    Usage.free += 1
    filled(tmp_path).close()


@pytest.mark.slow
def test_a_killed_filling_goes_on_and_two_processes_share_the_work(tmp_path: Path) -> None:
    with fill_in_another_process(tmp_path / 'a', die_in=8) as killed:
        assert killed.wait() == -9
    (cut,) = (tmp_path / 'a').rglob('*.features')
    record = 3 * 8 * 8 * 4 + HEADER
    assert cut.stat().st_size == 7 * record + record // 2
    processes = [fill_in_another_process(tmp_path / 'a') for _ in range(2)]
    told = []
    for process in processes:
        with process:
            told.append([int(number) for number in process.communicate()[0].split()])
    # Nothing twice, nothing missing; the batch that was cut off is the only one computed again.
    assert sum(computed for computed, _ in told) == NUM - 7
    with filled(tmp_path / 'a') as shared, filled(tmp_path / 'b') as alone:
        assert shared.filled.computed == 0 and alone.filled.computed == NUM
        for images in batches():
            assert torch.equal(
                shared.tuning.model.train()(images), alone.tuning.model.train()(images)
            )
