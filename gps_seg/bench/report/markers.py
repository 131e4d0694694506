"""Texts between markers of a Markdown file, replaced without touching anything else.

A marker stands on a line of its own, outside code blocks:

    <!-- bench:NAME -->
    ... replaced ...
    <!-- /bench:NAME -->
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

_MARKER = re.compile(r'[ \t]*<!--[ \t]*(/?)bench:([\w.:-]+)[ \t]*-->[ \t]*')
_FENCE = re.compile(r' {0,3}(`{3,}|~{3,})')


def replaced(text: str, blocks: Mapping[str, str], name: str = 'the text') -> tuple[str, set[str]]:
    """Put the blocks between their markers; markers of other names stay as they are.

    text: with its line ends, which the blocks take over. name: what errors call the text.
    Returns the new text and the names of the markers that were filled.

    Raises ValueError for a marker that is opened and not closed, or closed and not opened.
    """
    end = '\r\n' if '\r\n' in text else '\n'
    lines, kept, filled = text.splitlines(keepends=True), [], set()
    opened: tuple[str, int] | None = None
    fence = ''
    for number, line in enumerate(lines, start=1):
        fence = _fence_after(line, fence) if opened is None else ''
        marker = None if fence else _MARKER.fullmatch(line.rstrip('\r\n'))
        if marker is None:
            if opened is None or opened[0] not in blocks:
                kept.append(line)
            continue
        closes, marked = marker.groups()
        if bool(closes) != (opened is not None) or (opened and opened[0] != marked):
            raise _unbalanced(name, number, marked, opened, closes=bool(closes))
        if not closes:
            opened = (marked, number)
        else:
            opened = None
            if marked in blocks:
                filled.add(marked)
                kept.append(end.join(['', *blocks[marked].splitlines(), '', '']))
        kept.append(line)
    if opened is not None:
        marked, number = opened
        raise ValueError(
            f'{name}, line {number}: <!-- bench:{marked} --> is never closed; add {_close(marked)}'
        )
    return ''.join(kept), filled


def _fence_after(line: str, fence: str) -> str:
    """The fence of the code block that is open after a line; empty outside one."""
    found = _FENCE.match(line)
    if not found:
        return fence
    if not fence:
        return found[1]
    closes = found[1].startswith(fence) and not line.strip().strip(fence[0])
    return '' if closes else fence


def _unbalanced(
    name: str, number: int, marked: str, opened: tuple[str, int] | None, *, closes: bool
) -> ValueError:
    where = f'{name}, line {number}'
    if opened is None:
        return ValueError(f'{where}: {_close(marked)} closes what was never opened')
    what = _close(marked) if closes else f'<!-- bench:{marked} -->'
    return ValueError(
        f'{where}: {what} stands inside <!-- bench:{opened[0]} --> of line {opened[1]}; close that '
        f'first with {_close(opened[0])}'
    )


def _close(name: str) -> str:
    return f'<!-- /bench:{name} -->'


def replaced_files(
    files: Sequence[Path], blocks: Mapping[str, str], suites: Sequence[str]
) -> dict[Path, str]:
    """The new texts of Markdown files; nothing is written.

    suites: names of the suites that the blocks belong to. Returns the texts that change, with their
    line ends.

    Raises FileNotFoundError, and ValueError if a file has none of the markers, or none of the
    files has one for a suite.
    """
    changed, all_filled = {}, set()
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f'no file {file}; the report fills markers of existing files')
        text = file.read_bytes().decode()
        new, filled = replaced(text, blocks, str(file))
        if not filled:
            wanted = f'<!-- bench:{suites[0]} --> and {_close(suites[0])}'
            raise ValueError(
                f'{file} has no marker of this report; add lines {wanted} (or another one of '
                f'{", ".join(blocks)}) where its text should stand'
            )
        all_filled |= filled
        if new != text:
            changed[file] = new
    for suite in suites if files else ():
        if not any(name.split(':')[0] == suite for name in all_filled):
            raise ValueError(
                f'no file has the marker <!-- bench:{suite} -->; add it, and {_close(suite)}, to '
                f'one of {", ".join(map(str, files))}'
            )
    return changed
