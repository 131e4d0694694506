import io

import pytest
from rich.console import Console

from gps_seg.cli.tables import pairs, show, table

ROWS = [('  blocks.0 [bold]', '1,000', '7'), ('n' * 150, '22', ':smile:')]


def test_a_table_in_a_pipe_is_neither_cut_nor_wrapped_nor_interpreted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('COLUMNS', '40')
    show('head [red] ' + 'x' * 100, table(('name', 'count', 'last'), ROWS), 'end')
    assert capsys.readouterr().out.splitlines() == [
        'head [red] ' + 'x' * 100,
        '',
        f'{"name":150}  {"count":>5}  {"last":>7}',
        f'{"  blocks.0 [bold]":150}  {"1,000":>5}  {"7":>7}',
        f'{"n" * 150}  {"22":>5}  :smile:',
        '',
        'end',
    ]


def test_a_narrow_terminal_folds_names_and_loses_nothing() -> None:
    text = io.StringIO()
    Console(file=text, width=40, markup=False).print(table(('name', 'count', 'last'), ROWS))
    assert max(map(len, text.getvalue().splitlines())) <= 40
    assert text.getvalue().count('n') >= 150


def test_pairs_stand_below_each_other() -> None:
    assert pairs([('a', 1), ('long', 'x')]) == 'a     1\nlong  x'
