from pathlib import Path

import pytest

from gps_seg.bench.report.markers import replaced, replaced_files

BLOCKS = {'a': 'one\ntwo', 'a:words': 'told'}


def test_the_text_between_markers_is_replaced_and_nothing_else() -> None:
    text = 'before\n\n<!-- bench:a -->\nold\n<!-- /bench:a -->\n\nafter  \n\ttab'
    new, filled = replaced(text, BLOCKS)
    assert new == ('before\n\n<!-- bench:a -->\n\none\ntwo\n\n<!-- /bench:a -->\n\nafter  \n\ttab')
    assert filled == {'a'}


def test_filling_again_changes_nothing() -> None:
    once, _ = replaced('<!-- bench:a -->\n<!-- /bench:a -->\n', BLOCKS)
    assert replaced(once, BLOCKS)[0] == once


def test_line_ends_stay_those_of_the_file() -> None:
    new, _ = replaced('x\r\n<!-- bench:a -->\r\n<!-- /bench:a -->\r\ny', BLOCKS)
    assert new == 'x\r\n<!-- bench:a -->\r\n\r\none\r\ntwo\r\n\r\n<!-- /bench:a -->\r\ny'


def test_markers_of_other_suites_keep_their_text() -> None:
    text = (
        '<!-- bench:b -->\nkept\n<!-- /bench:b -->\n<!-- bench:a:words -->\n<!-- /bench:a:words -->'
    )
    new, filled = replaced(text, BLOCKS)
    assert filled == {'a:words'}
    assert '<!-- bench:b -->\nkept\n<!-- /bench:b -->\n' in new
    assert '\ntold\n' in new


@pytest.mark.parametrize('fence', ['```', '~~~~', '   ```md'])
def test_markers_in_code_blocks_are_examples(fence: str) -> None:
    bare = fence.strip().removesuffix('md')
    text = f'{fence}\n<!-- bench:a -->\n{bare}\n'
    assert replaced(text, BLOCKS) == (text, set())


def test_a_marker_after_a_code_block_counts() -> None:
    text = '````\n```\n<!-- bench:a -->\n````\n<!-- bench:a -->\n<!-- /bench:a -->\n'
    new, filled = replaced(text, BLOCKS)
    assert filled == {'a'}
    assert new.startswith('````\n```\n<!-- bench:a -->\n````\n<!-- bench:a -->\n\none')


def test_markers_within_a_line_are_text() -> None:
    text = 'put `<!-- bench:a -->` there\n'
    assert replaced(text, BLOCKS) == (text, set())


def test_one_name_may_stand_twice() -> None:
    text = '<!-- bench:a -->\n<!-- /bench:a -->\n' * 2
    assert replaced(text, BLOCKS)[0].count('one') == 2


@pytest.mark.parametrize(
    'text, told',
    [
        ('x\n<!-- bench:a -->\n', 'line 2: <!-- bench:a --> is never closed'),
        ('<!-- bench:zz -->\n', 'bench:zz --> is never closed'),
        ('<!-- /bench:a -->\n', r'line 1: <!-- /bench:a --> closes what was never opened'),
        ('<!-- bench:a -->\n<!-- /bench:b -->\n', r'<!-- /bench:b --> stands inside'),
        ('<!-- bench:a -->\n<!-- bench:b -->\n', r'<!-- bench:b --> stands inside'),
        ('<!-- bench:a -->\n<!-- bench:a -->\n', r'close that first with <!-- /bench:a -->'),
    ],
)
def test_markers_that_do_not_pair_are_named(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replaced(text, BLOCKS)


def test_a_file_without_a_marker_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / 'README.md'
    file.write_text('no marker, only <!-- bench:b --> in a line\n')
    with pytest.raises(ValueError, match='<!-- bench:a --> and <!-- /bench:a -->') as error:
        replaced_files([file], BLOCKS, ['a'])
    assert str(file) in str(error.value)


def test_a_suite_without_a_marker_in_any_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / 'README.md'
    file.write_text('<!-- bench:a:words -->\n<!-- /bench:a:words -->\n')
    blocks = {**BLOCKS, 'other': 'x'}
    with pytest.raises(ValueError, match='no file has the marker <!-- bench:other -->'):
        replaced_files([file], blocks, ['a', 'other'])
    assert list(replaced_files([file], BLOCKS, ['a'])) == [file]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='existing files'):
        replaced_files([tmp_path / 'none.md'], BLOCKS, ['a'])


def test_a_file_that_is_up_to_date_is_not_written_again(tmp_path: Path) -> None:
    file = tmp_path / 'README.md'
    file.write_text('<!-- bench:a -->\n\none\ntwo\n\n<!-- /bench:a -->\n')
    assert replaced_files([file], BLOCKS, ['a']) == {}
    assert replaced_files([], BLOCKS, ['a']) == {}
