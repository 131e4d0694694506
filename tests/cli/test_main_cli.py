import argparse
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.registry import HOOKS

import gps_seg
from gps_seg.cli import main as main_module
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.main import COMMANDS, HELP, main
from gps_seg.hooks import FineTuneHook

TOOLS = Path(__file__).parents[2] / 'tools'


@pytest.mark.parametrize('argument', ['-h', '--help', 'help'])
def test_help_lists_every_command(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([argument]) == 0
    output = capsys.readouterr().out
    listed = {line.split()[0] for line in output.splitlines() if line.startswith('  ')}
    assert listed == set(COMMANDS)
    assert 'folder for each class' in output  # classification


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_has_its_tool_in_a_clone(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = TOOLS / f'{name}.py'
    monkeypatch.setattr(sys, 'argv', [str(tool), '--help'])
    # As Python starts a script: its folder first.
    monkeypatch.setattr(sys, 'path', [str(TOOLS), *sys.path])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(tool), run_name='__main__')
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: gps-seg {name} ')


@pytest.mark.parametrize('name', COMMANDS)
def test_every_argument_of_a_command_is_explained(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsers = []

    def parse_args(self: argparse.ArgumentParser, argv: object) -> None:
        parsers.append(self)
        raise SystemExit

    monkeypatch.setattr(sys, 'argv', ['gps-seg'])
    for parse in ('parse_args', 'parse_intermixed_args'):
        monkeypatch.setattr(argparse.ArgumentParser, parse, parse_args)
    with pytest.raises(SystemExit):
        main([name])
    assert parsers
    for parser in parsers:
        assert parser.description or parser is not parsers[0]
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
            else:
                assert action.help, (parser.prog, action.dest)


def test_help_imports_no_command() -> None:
    program = (
        'import sys, gps_seg.cli.main as m; m.main(["--help"]); '
        'print(sorted(n for n in sys.modules if n.startswith(("gps_seg.cli.", "mmengine"))))'
    )
    output = subprocess.check_output([sys.executable, '-c', program], text=True)
    assert output.splitlines()[-1] == "['gps_seg.cli.main']"


def test_without_a_command_the_help_is_shown_and_the_exit_code_is_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out == HELP + '\n'


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['--version']) == 0
    assert capsys.readouterr().out == f'gps-seg {gps_seg.__version__}\n'


def test_a_misspelt_command_is_answered_with_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(['trian', 'config.py']) == 2
    error = capsys.readouterr().err
    assert "no command 'trian'; did you mean train?" in error
    assert error.count('\n') == 1


@pytest.mark.parametrize('name', COMMANDS)
def test_a_command_gets_its_arguments_and_gives_its_exit_code(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def command(argv: list[str]) -> int:
        calls.append(argv)
        return 5

    def imported(module: str) -> SimpleNamespace:
        assert module == COMMANDS[name]
        assert module in (f'gps_seg.cli.{name}', f'gps_seg.{name}.command')
        return SimpleNamespace(main=command)

    monkeypatch.setattr(main_module, 'importlib', SimpleNamespace(import_module=imported))
    monkeypatch.setattr(sys, 'argv', ['/usr/bin/gps-seg', name, '--flag', 'x'])
    assert main() == 5
    assert calls == [['--flag', 'x']]
    assert sys.argv[0] == f'gps-seg {name}'


@pytest.mark.parametrize(
    'error, line',
    [
        (ValueError('k must be\n  at least 1'), 'error: k must be at least 1\n'),
        (ValueError(), 'error: ValueError\n'),
        (
            FileNotFoundError('no config x; look in configs/'),
            'error: no config x; look in configs/\n',
        ),
        (FileNotFoundError(2, 'No such file', 'x.py'), 'error: No such file: x.py\n'),
        (FileExistsError('x exists'), 'error: x exists\n'),
        (PermissionError(13, 'Permission denied', '/x'), 'error: Permission denied: /x\n'),
    ],
)
def test_a_user_error_is_one_line_and_exit_code_2(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @one_line_errors
    def command(argv: object = None) -> int:
        raise error

    monkeypatch.delenv('GPS_SEG_TRACEBACK', raising=False)
    assert command(['x']) == 2
    assert capsys.readouterr() == ('', line)
    monkeypatch.setenv('GPS_SEG_TRACEBACK', '1')
    with pytest.raises(type(error)):
        command(['x'])


@pytest.mark.parametrize('error', [RuntimeError, KeyError, TypeError, AssertionError])
def test_a_bug_keeps_its_traceback(error: type[Exception]) -> None:
    @one_line_errors
    def command(argv: object = None) -> int:
        raise error

    with pytest.raises(error):
        command()


def test_a_setting_that_a_class_of_the_config_lacks_is_a_user_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @one_line_errors
    def build(argv: object = None) -> int:
        method = dict(type='GPS', k=1)
        HOOKS.build(dict(type='FineTuneHook', method=method, selection='a.safetensors'))
        return 0

    assert build() == 2
    message = capsys.readouterr().err
    assert message.startswith("error: the config gives FineTuneHook the setting 'selection', which")

    @one_line_errors
    def broken(argv: object = None) -> int:
        return FineTuneHook(dict(type='GPS', k=1), selection=1)  # type: ignore[call-arg]

    with pytest.raises(TypeError):
        broken()


def test_without_an_error_the_exit_code_is_the_commands_own() -> None:
    assert one_line_errors(lambda argv: len(argv or ()))(['a', 'b', 'c']) == 3
