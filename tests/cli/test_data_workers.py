"""What commands say of an error in a data worker: torch's own messages, as it raises them."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader, Dataset

from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.main import main


class _Failing(Dataset):
    def __init__(self, error: Exception | str) -> None:
        self.error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        if self.error == 'die':
            os.kill(os.getpid(), signal.SIGKILL)
        if isinstance(self.error, Exception):
            raise self.error
        try:
            return dict[str, int]()['key']
        except KeyError as error:
            raise ValueError('mask a.png\n  holds: no class; File "x"') from error


def outcome(error: Exception | str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints that reads a data set in a worker."""

    @one_line_errors
    def command(argv: Any = None) -> int:
        return len(list(DataLoader(_Failing(error), num_workers=1)))

    assert command([]) == 2
    line = capsys.readouterr().err
    assert line.count('\n') == 1
    return line


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(
    'error, line',
    [
        (ValueError('mask a.png: bad'), 'error: mask a.png: bad\n'),
        ('chained', 'error: mask a.png holds: no class; File "x"\n'),
        (FileNotFoundError(2, 'No such file', 'a.png'), "error: No such file: 'a.png'\n"),
        (KeyError('x'), "error: in a data worker: KeyError: 'x' (--debug shows where)\n"),
        (RuntimeError(), 'error: in a data worker: RuntimeError:  (--debug shows where)\n'),
    ],
)
def test_an_error_in_a_data_worker_is_one_line(
    error: Exception | str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(error, capsys) == line


@pytest.mark.filterwarnings('ignore')
def test_a_data_worker_that_was_killed_is_one_line_with_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = outcome('die', capsys)
    assert line.startswith('error: DataLoader worker (pid')
    assert 'lower num_workers' in line


def test_debug_shows_the_traceback_of_an_error_and_is_no_argument_of_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv('GPS_SEG_TRACEBACK', raising=False)
    seen = []

    @one_line_errors
    def command(argv: Any = None) -> int:
        seen.append(argv)
        raise ValueError('wrong')

    with pytest.raises(ValueError, match='wrong'):
        command(['a', '--debug', 'b'])
    monkeypatch.setattr(sys, 'argv', ['gps-seg x', 'c', '--debug'])
    with pytest.raises(ValueError, match='wrong'):
        command()
    assert seen == [['a', 'b'], ['c']]
    assert command(['d']) == 2
    assert 'GPS_SEG_TRACEBACK' not in os.environ


@pytest.mark.parametrize(
    'arguments', [['--debug', 'train', 'no.py'], ['train', 'no.py', '--debug']]
)
def test_debug_may_stand_before_the_command_too(arguments: list[str]) -> None:
    with pytest.raises(FileNotFoundError):
        main(arguments)
    assert not Path('no.py').exists()
