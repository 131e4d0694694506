"""Suites that are really run, killed, and run by several at once."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from gps_seg.bench.board import RESULT, Board
from gps_seg.bench.cells import Cell
from gps_seg.bench.claims import claim
from gps_seg.bench.command import main
from gps_seg.bench.estimates import Estimates
from gps_seg.bench.running import Workers, last_error, prepare, reset
from gps_seg.bench.suite import Suite
from tests.bench.toy_suite import LR, write_suite

NUM_KILLS = 20
PROBE = 'default_hooks.fine_tune.probe'
# Equal whether or not a cell was killed; times, memory and claims are not.
SAME = ('id', 'scores', 'trained', 'selected', 'total', 'hashes', 'tuned', 'seed')


def start(suite: Path, out: Path, *arguments: str) -> subprocess.Popen:
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    command = [sys.executable, '-m', 'gps_seg.cli.main', 'bench', 'run', str(suite)]
    return subprocess.Popen(
        [*command, '--out', str(out), '--no-estimate', '--threads', '1', *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    printed = process.communicate(timeout=900)[0]
    assert process.returncode == 0, printed
    return printed


def results(out: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted(out.glob(f'cells/*/{RESULT}')):
        result = json.loads(path.read_text())
        found[result['id']] = {name: result[name] for name in SAME}
    return found


@pytest.fixture(scope='module')
def file(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = replace(suite, tune={LR: [1e-3], PROBE: [True, False]}).only(methods=['gps'])
    return write_suite(small, tmp_path_factory.mktemp('suite') / 'small.py')


@pytest.fixture(scope='module')
def undisturbed(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('undisturbed')
    begin = time.monotonic()
    finish(start(file, out))
    (out / 'seconds').write_text(str(time.monotonic() - begin))
    return out


@pytest.mark.full
@pytest.mark.slow
def test_a_suite_leaves_trials_finals_and_one_shared_plan_for_each_seed(undisturbed: Path) -> None:
    found = results(undisturbed)
    finals = [result for name, result in found.items() if '--final--' in name]
    assert [result['seed'] for result in finals] == [0, 1]
    assert all('test' not in r['scores'] for name, r in found.items() if '--trial--' in name)
    trials = [result for name, result in found.items() if '--trial--' in name]
    best = max(trial['scores']['validation']['mDice'] for trial in trials)
    winners = [t['tuned'] for t in trials if t['scores']['validation']['mDice'] == best]
    assert all(result['tuned'] in winners for result in finals)
    assert len(list((undisturbed / 'plans').glob('*.safetensors'))) == 2
    for name in found:
        if '--final--' in name:
            folder = undisturbed / 'cells' / name
            images = (folder / 'images.csv').read_text().splitlines()[1:]
            # The mean over the images is what the metric says.
            mean = sum(float(line.split(',')[1]) for line in images) / len(images)
            assert mean == pytest.approx(found[name]['scores']['test']['mDice'], abs=1e-3)


@pytest.mark.full
@pytest.mark.slow
def test_the_same_command_runs_nothing_again(file: Path, undisturbed: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in undisturbed.glob(f'cells/*/{RESULT}')}
    printed = finish(start(file, undisturbed))
    assert 'nothing left' in printed
    assert {path: path.stat().st_mtime_ns for path in times} == times


@pytest.mark.full
@pytest.mark.slow
def test_killed_at_twenty_points_a_suite_ends_as_if_undisturbed(
    file: Path, undisturbed: Path, tmp_path: Path
) -> None:
    draws = random.Random(0)
    seconds = float((undisturbed / 'seconds').read_text())
    kills = 0
    while kills < NUM_KILLS:
        process = start(file, tmp_path, '--workers', '2')
        time.sleep(draws.uniform(0.1, 0.4) * seconds)
        if process.poll() is not None and results(tmp_path) == results(undisturbed):
            process.communicate()
            # Nothing is left to kill: break off what was done, so that it is done again.
            victim = draws.choice(sorted(tmp_path.glob(f'cells/*--final--*/{RESULT}')))
            victim.unlink()
            continue
        os.kill(process.pid, signal.SIGKILL)  # its cells have to notice by themselves
        process.communicate()
        kills += 1
    finish(start(file, tmp_path))
    assert results(tmp_path) == results(undisturbed)


@pytest.mark.full
@pytest.mark.slow
def test_two_commands_on_one_folder_share_the_cells(
    file: Path, undisturbed: Path, tmp_path: Path
) -> None:
    both = [start(file, tmp_path), start(file, tmp_path)]
    for process in both:
        finish(process)
    assert results(tmp_path) == results(undisturbed)
    for path in tmp_path.glob(f'cells/*/{RESULT}'):
        assert json.loads(path.read_text())['num_claims'] == 1


@pytest.mark.full
@pytest.mark.slow
def test_a_job_of_submitit_runs_the_suite(file: Path, undisturbed: Path, tmp_path: Path) -> None:
    pytest.importorskip('submitit')
    options = ('--cluster', 'local', '--jobs', '2', '--cluster-options', 'timeout_min=20')
    printed = finish(start(file, tmp_path, *options))
    assert 'submitted 2 jobs' in printed
    assert results(tmp_path) == results(undisturbed)


def broken(suite: Suite) -> Suite:
    """A suite whose cells crash at once."""
    return replace(suite, tune={}, settings={'model.type': 'Nothing'}, seeds=(0,)).only(
        methods=['linear']
    )


def workers(board: Board, said: list[str]) -> Workers:
    return Workers(board, Estimates(board.folder), said.append)


@pytest.mark.slow
def test_a_cell_that_crashes_is_tried_once_more_and_then_reported(
    suite: Suite, tmp_path: Path
) -> None:
    board = Board(broken(suite), tmp_path)
    said: list[str] = []
    outcome = workers(board, said).run()
    (cell,) = outcome.failed
    assert len(board.failures(cell)) == 2
    assert 'Nothing' in board.failures(cell)[0]
    assert 'it is tried once more' in said[0]
    assert 'it is tried once more' not in said[1]
    # It is not run again unless that is asked for.
    assert workers(board, said).run().failed == []
    assert reset(board) == 1
    assert board.todo() == [cell]


def test_a_cell_that_another_process_runs_is_left_to_it(suite: Suite, tmp_path: Path) -> None:
    board = Board(broken(suite), tmp_path)
    (cell,) = board.todo()
    mine = claim(board.place(cell))
    assert mine is not None
    assert board.todo() == []
    assert board.is_open(cell)
    mine.release()
    assert board.todo() == [cell]


def test_a_prepared_cell_holds_its_complete_config(suite: Suite, tmp_path: Path) -> None:
    board = Board(broken(suite), tmp_path)
    (cell,) = board.todo()
    assert isinstance(cell, Cell)
    prepare(cell, board)
    read = Config.fromfile(board.place(cell) / 'config.py')
    assert read.to_dict() == cell.config.to_dict()


def test_the_last_error_of_a_log_is_named(tmp_path: Path) -> None:
    log = tmp_path / 'log.txt'
    log.write_text(
        'Traceback\n  File\nValueError: first\nmore\nOSError: no space left: disk\nend\n'
    )
    assert last_error(log) == 'OSError: no space left: disk'
    assert last_error(tmp_path / 'none') is None


def test_a_dry_run_leaves_no_suite_to_report_on(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out'
    assert main(['run', str(file), '--dry-run', '--no-estimate', '--out', str(out)]) == 0
    assert 'waits' in capsys.readouterr().out
    assert not (out / 'suite.json').exists()
    assert main(['report', str(out)]) == 2
    assert 'give the folder that gps-seg bench run has written' in capsys.readouterr().err


def test_the_error_of_an_attempt_is_its_own(suite: Suite, tmp_path: Path) -> None:
    board = Board(broken(suite), tmp_path)
    (cell,) = board.todo()
    prepare(cell, board)
    log = board.place(cell) / 'log.txt'
    log.write_text('ValueError: of the first attempt\n')
    said = log.stat().st_size
    assert last_error(log) == 'ValueError: of the first attempt'
    assert last_error(log, said) is None
    crew = workers(board, [])
    crew._fail(cell, -9, said)
    crew._fail(cell, 3, said)
    assert board.failures(cell) == [
        'the process was killed by SIGKILL (out of memory?)',
        'the process ended with code 3',
    ]
