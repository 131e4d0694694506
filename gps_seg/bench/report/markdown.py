"""The report as Markdown, and its blocks for README and docs."""

import re
from collections.abc import Iterable, Mapping, Sequence

from gps_seg.bench.report import words
from gps_seg.bench.report.sections import Section
from gps_seg.bench.report.tables import Entry, Table


def escape(text: str) -> str:
    """Text that Markdown shows as it is, inside a table too.

    >>> escape('a|b *c* <d>')
    'a\\\\|b \\\\*c\\\\* &lt;d&gt;'
    """
    text = ' '.join(text.split()).replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
    return re.sub(r'([\\`*\[\]|]|(?<!\w)_|_(?!\w))', r'\\\1', text)


def markdown_table(table: Table) -> str:
    """A table of GitHub's Markdown, without its caption; numbers stand at the right."""
    lines = [_line(escape(name) for name in table.header)]
    right = [table.is_number(column) for column in range(len(table.header))]
    lines.append(_line('--:' if is_right else '---' for is_right in right))
    lines += [_line(_entry(entry) for entry in row) for row in table.rows]
    return '\n'.join(lines)


def _line(texts: Iterable[str]) -> str:
    return f'| {" | ".join(texts)} |'


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    return f'**{text}**' if entry.is_bold and text else text


def blocks(section: Section) -> Mapping[str, str]:
    """The texts that may stand between markers: the whole, and parts of it.

    `NAME` is all of it; `NAME:short` who wins and the short tables; `NAME:words` the sentences.
    """
    name = section.suite.name
    return {name: whole(section), f'{name}:short': short(section), f'{name}:words': told(section)}


def whole(section: Section) -> str:
    """Who wins, all that was measured, what it says in sentences, and what is lacking."""
    parts = []
    for group, table in zip(section.groups, section.main, strict=True):
        parts += _captioned(section, table.caption)
        parts.append(escape(' '.join(words.headline(group))))
        parts.append(markdown_table(table))
        parts += _bullets(words.in_words(group))
        parts.append(escape(words.rule(group)))
        parts += _named('Not there', words.lacking(group))
    for table in (*section.means, *section.costs):
        parts += [f'**{escape(table.caption)}**', markdown_table(table)]
    for part in section.published:
        parts.append(f'Published beside ours. {escape(part.table.caption)}.')
        parts += [markdown_table(part.table), escape(part.protocol)]
    parts += _named('Stale, in no number above', [cell.id for cell in section.suite.stale])
    parts += [escape(note) for note in section.suite.notes]
    return '\n\n'.join(parts)


def short(section: Section) -> str:
    """Who wins, and a table of score, standing and cost."""
    parts = []
    for group, table in zip(section.groups, section.short, strict=True):
        parts += _captioned(section, table.caption)
        parts += [escape(' '.join(words.headline(group))), markdown_table(table)]
        parts += _named('Not there', words.lacking(group))
    for table in (*section.means, *section.costs):
        parts += [f'**{escape(table.caption)}**', markdown_table(table)]
    return '\n\n'.join(parts)


def told(section: Section) -> str:
    """The sentences alone."""
    return '\n\n'.join(
        part
        for group in section.groups
        for part in (escape(' '.join(words.headline(group))), *_bullets(words.in_words(group)))
    )


def _captioned(section: Section, caption: str) -> list[str]:
    """A caption where there are several tables to tell apart."""
    return [f'**{escape(caption)}**'] if len(section.groups) > 1 else []


def _bullets(lines: Sequence[str]) -> list[str]:
    return ['\n'.join(f'- {escape(line)}' for line in lines)] if lines else []


def _named(title: str, lines: Sequence[str]) -> list[str]:
    return [f'{title}: {escape("; ".join(lines))}.'] if lines else []
