"""A training that is stopped by a signal, in a process of its own."""

import os
import shlex
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from mmengine.config import Config

from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.going_on import how_to_go_on
from gps_seg.cli.stopping import stoppable
from gps_seg.cli.train import main
from gps_seg.cli.work_dir_lock import lock_work_dir
from gps_seg.files import LOCK, lock_folder, release_folders
from gps_seg.runner.checkpoints import LAST, read_checkpoint
from tests.toy_runs import toy_config


@dataclass(frozen=True)
class Training:
    """A process that trains, and the file that it prints its errors to."""

    process: int
    errors: Path

    def stop(self, number: int) -> tuple[int, str]:
        """Send a signal. Returns the exit code, and the last line on stderr."""
        os.kill(self.process, number)
        return self.end()

    def end(self) -> tuple[int, str]:
        _, status = os.waitpid(self.process, 0)
        return os.waitstatus_to_exitcode(status), self.errors.read_text()


def start(arguments: Sequence[str], errors: Path) -> Training:
    """Start `gps-seg train` in a fork, which has imported everything."""
    process = os.fork()
    if not process:
        code = 1
        try:
            with errors.open('w') as file, open(os.devnull, 'w') as null:
                os.dup2(null.fileno(), 1)
                os.dup2(file.fileno(), 2)
                sys.stdout, sys.stderr = null, file
                sys.argv = ['gps-seg train', *arguments]
                code = main()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return Training(process, errors)


def wait_for(
    path: Path, training: Training, *, newer_than: float = 0, seconds: float = 120
) -> None:
    """Wait until a training has written a file. Fails where the training ends before."""
    end = time.monotonic() + 120
    while not (path.is_file() and path.stat().st_mtime > newer_than):
        assert time.monotonic() < end
        assert os.waitpid(training.process, os.WNOHANG)[0] == 0, training.errors.read_text()
        time.sleep(0.02)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A training that would take many minutes, with a data worker."""
    content = toy_config(tmp_path)
    content.train_cfg.max_epochs = 500
    content.train_dataloader.update(num_workers=1, persistent_workers=True)
    content.default_hooks.report.num_pictures = 1
    content.pop('work_dir')
    content.dump(tmp_path / 'config.py')
    return tmp_path / 'config.py'


def test_a_stopped_training_says_how_to_go_on_and_goes_on(config: Path, tmp_path: Path) -> None:
    work_dir, errors = tmp_path / 'run', tmp_path / 'errors.txt'
    options = ['--cfg-options', 'train_dataloader.batch_size=3']
    training = start([str(config), '--work-dir', str(work_dir), *options], errors)
    wait_for(work_dir / LAST, training)

    # Nobody else may write there in the meantime.
    other = start([str(config), '--work-dir', str(work_dir), '--resume'], tmp_path / 'other.txt')
    code, text = other.end()
    assert code == 2
    assert text.startswith(f'error: {work_dir} is being written by process {training.process} on ')
    assert text.count('\n') == 1

    code, text = training.stop(signal.SIGINT)
    assert code == 130, text
    assert text.count('\n') == 1
    said, _, command = text.strip().partition('go on from it: ')
    assert said.startswith(f'interrupted; {work_dir / LAST} holds the last epoch')
    program, name, *arguments = shlex.split(command)
    assert (program, name) == ('gps-seg', 'train')
    assert arguments == [str(config), *options, '--work-dir', str(work_dir), '--resume']
    # Nothing half-way: a whole checkpoint, no temporary file, no lock.
    epoch = read_checkpoint(str(work_dir / LAST))['meta']['epoch']
    assert not [path for path in work_dir.iterdir() if path.name.startswith('.')]
    assert not (work_dir / LOCK).exists()

    written = (work_dir / LAST).stat().st_mtime
    training = start(arguments, errors)
    wait_for(work_dir / LAST, training, newer_than=written)
    code, text = training.stop(signal.SIGTERM)
    assert code == 143, text
    assert text.startswith('terminated; ')
    assert text.count('\n') == 1
    assert read_checkpoint(str(work_dir / LAST))['meta']['epoch'] > epoch


def test_a_training_that_is_stopped_before_its_first_epoch_can_be_started_again(
    config: Path, tmp_path: Path
) -> None:
    work_dir = tmp_path / 'run'
    arguments = [str(config), '--work-dir', str(work_dir)]
    training = start(arguments, tmp_path / 'errors.txt')
    wait_for(work_dir / LOCK, training)
    code, text = training.stop(signal.SIGINT)
    assert code == 130, text
    assert text.startswith('interrupted')
    assert text.count('\n') == 1
    assert not (work_dir / LAST).exists()
    assert 'Traceback' not in text


def test_a_dry_run_says_that_the_work_dir_is_taken(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work_dir = tmp_path / 'run'
    assert main([str(config), '--work-dir', str(work_dir), '--dry-run']) == 0
    assert 'refused' not in capsys.readouterr().out
    work_dir.mkdir(exist_ok=True)
    (work_dir / 'delta.safetensors').write_text('')
    assert main([str(config), '--work-dir', str(work_dir), '--dry-run']) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f'The training itself would be refused: {work_dir} already holds a run')


def test_a_dry_run_locks_nothing(config: Path, tmp_path: Path) -> None:
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    child = os.fork()
    if not child:
        lock_folder(work_dir)
        signal.pause()
        os._exit(0)
    while not (work_dir / LOCK).is_file():
        time.sleep(0.01)
    try:
        assert main([str(config), '--work-dir', str(work_dir), '--dry-run']) == 0
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize('rank, locks', [('0', True), ('1', False)])
def test_of_several_processes_the_first_one_holds_the_lock(
    rank: str, locks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for launcher, variable in {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID'}.items():
        monkeypatch.setenv(variable, rank)
        lock_work_dir(Config({'work_dir': str(tmp_path / launcher), 'launcher': launcher}))
        assert (tmp_path / launcher / LOCK).is_file() == locks
    # A single process inside somebody's allocation has those variables too.
    lock_work_dir(Config({'work_dir': str(tmp_path / 'none'), 'launcher': 'none'}))
    assert (tmp_path / 'none' / LOCK).is_file()
    release_folders()


@pytest.mark.parametrize(
    'arguments, expected',
    [
        (['c.py'], ['c.py']),
        (['c.py', '--resume'], ['c.py']),
        (['c.py', '--resume', 'x/last.pth', '--amp'], ['c.py', '--amp']),
        (['--work-dir', 'old', 'c.py'], ['c.py']),
        (
            ['c.py', '--work-dir=old', '--resume=x', '--cfg-options', "a='b c'"],
            ['c.py', '--cfg-options', "a='b c'"],
        ),
    ],
)
def test_the_command_keeps_all_but_the_place(
    arguments: list[str], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'argv', ['gps-seg train'])
    config = Config({'work_dir': str(tmp_path), 'launcher': 'none'})
    begin = 'no epoch was finished, so nothing was kept; start again: gps-seg train '
    command = how_to_go_on(config, arguments)
    assert command == begin + shlex.join([*expected, '--work-dir', str(tmp_path)])
    (tmp_path / LAST).touch()
    assert how_to_go_on(config, arguments).endswith(f'--work-dir {tmp_path} --resume')
    config.launcher = 'pytorch'
    assert 'the same launcher with' in how_to_go_on(config, arguments)


@pytest.mark.parametrize('number, code, what', [(2, 130, 'interrupted'), (15, 143, 'terminated')])
def test_every_command_ends_with_one_line_and_the_code_of_the_signal(
    number: int, code: int, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @one_line_errors
    def command(argv: object = None) -> int:
        os.kill(os.getpid(), number)
        time.sleep(5)
        return 0

    before = signal.getsignal(signal.SIGTERM)
    assert command([]) == code
    assert capsys.readouterr() == ('', f'{what}\n')
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize('number, code, what', [(2, 130, 'interrupted'), (15, 143, 'terminated')])
def test_a_stop_counts_where_the_code_it_came_to_raises_something_else(
    number: int, code: int, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @one_line_errors
    def command(argv: object = None) -> int:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        except:  # noqa: E722  MMEngine formats every checkpoint's config in such a block
            raise SyntaxError('the config cannot be formatted') from None
        return 0

    assert command([]) == code
    assert capsys.readouterr() == ('', f'{what}\n')


@pytest.mark.parametrize('lines', [3, 30_000])
def test_a_command_ends_in_silence_once_nobody_reads_it(lines: int) -> None:
    command = (
        'import sys, time\n'
        'from gps_seg.cli.errors import one_line_errors\n'
        '@one_line_errors\n'
        'def main(argv=None):\n'
        '    time.sleep(0.5)\n'
        f'    for number in range({lines}):\n'
        '        print(number)\n'
        '    return 0\n'
        'sys.exit(main([]))\n'
    )
    program = subprocess.Popen(
        [sys.executable, '-c', command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with program:
        assert program.stdout is not None
        program.stdout.close()
        _, said = program.communicate()
    assert said == b''
    assert program.returncode == 141


def test_a_data_worker_says_nothing_of_the_end_of_its_process(
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = sys.excepthook
    with stoppable():
        for error in (BrokenPipeError(32, 'Broken pipe'), ValueError('wrong')):
            child = os.fork()
            if not child:
                # As the thread does that hands tensors over (multiprocessing.resource_sharer).
                with open(2, 'w', closefd=False) as sys.stderr:
                    sys.excepthook(type(error), error, None)
                os._exit(0)
            os.waitpid(child, 0)
    assert capfd.readouterr().err == 'ValueError: wrong\n'
    assert sys.excepthook is before


def test_a_child_of_a_command_ends_by_sigterm_as_without_it() -> None:
    with stoppable():
        child = os.fork()
        if not child:
            try:
                signal.pause()
            finally:
                os._exit(3)
        time.sleep(0.1)
        os.kill(child, signal.SIGTERM)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
