"""Who works on a cell."""

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

from gps_seg.bench import claims
from gps_seg.bench.claims import claim, is_claimed, num_claims, write_once


def _claim_in_a_process(folder: str, barrier: Any, results: Any) -> None:
    barrier.wait()
    results.put(claim(Path(folder)) is not None)
    barrier.wait()  # alive until all have tried


def test_one_of_many_processes_gets_the_claim(tmp_path: Path) -> None:
    context = multiprocessing.get_context('fork')
    for attempt in range(5):
        barrier, results = context.Barrier(8), context.Queue()
        folder = str(tmp_path / str(attempt))
        many = [
            context.Process(target=_claim_in_a_process, args=(folder, barrier, results))
            for _ in range(8)
        ]
        for process in many:
            process.start()
        for process in many:
            process.join()
        assert sum(results.get() for _ in many) == 1


def test_a_claim_of_a_living_worker_is_respected(tmp_path: Path) -> None:
    assert claim(tmp_path) is not None
    assert claim(tmp_path) is None
    assert is_claimed(tmp_path)


def test_the_claim_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    pid = os.fork()
    if not pid:
        claim(tmp_path)
        os._exit(0)
    os.waitpid(pid, 0)
    assert not is_claimed(tmp_path)
    second = claim(tmp_path)
    assert second is not None
    assert second.number == num_claims(tmp_path) == 2


def test_a_process_that_took_the_number_of_a_dead_one_is_not_mistaken_for_it(
    tmp_path: Path,
) -> None:
    mine = claim(tmp_path)
    assert mine is not None
    about = json.loads(mine.path.read_text())
    mine.path.write_text(json.dumps({**about, 'started': '1'}))
    assert not is_claimed(tmp_path)


def test_a_worker_elsewhere_is_judged_by_its_last_beat(tmp_path: Path) -> None:
    mine = claim(tmp_path)
    assert mine is not None
    mine.path.write_text(json.dumps({'host': 'elsewhere', 'pid': 1}))
    assert is_claimed(tmp_path)
    long_ago = time.time() - claims.SILENCE - 1
    os.utime(mine.path, (long_ago, long_ago))
    assert not is_claimed(tmp_path)
    mine.beat()
    assert is_claimed(tmp_path)


def test_whoever_was_taken_over_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = claim(tmp_path)
    monkeypatch.setattr(claims, 'is_alive', lambda path: False)
    second = claim(tmp_path)
    assert first is not None
    assert second is not None
    assert not first.holds()
    assert second.holds()


def test_a_released_claim_is_free_at_once(tmp_path: Path) -> None:
    mine = claim(tmp_path)
    assert mine is not None
    mine.release()
    assert not is_claimed(tmp_path)
    assert claim(tmp_path) is not None


def test_a_result_is_written_once(tmp_path: Path) -> None:
    assert write_once(tmp_path / 'result.json', {'score': 1})
    assert not write_once(tmp_path / 'result.json', {'score': 2})
    assert json.loads((tmp_path / 'result.json').read_text()) == {'score': 1}
    assert [path.name for path in tmp_path.iterdir()] == ['result.json']


@pytest.mark.parametrize('content', ['', '{', '{}', '{"host": "elsewhere"'])
def test_a_claim_that_cannot_be_read_holds_nobody_up(tmp_path: Path, content: str) -> None:
    (tmp_path / 'claim-1.json').write_text(content)
    mine = claim(tmp_path)
    long_ago = time.time() - claims.SILENCE - 1
    os.utime(tmp_path / 'claim-1.json', (long_ago, long_ago))
    assert mine is not None or claim(tmp_path) is not None
