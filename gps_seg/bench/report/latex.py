"""The tables as LaTeX, for papers: needs the package booktabs."""

from gps_seg.bench.report import words
from gps_seg.bench.report.sections import Section
from gps_seg.bench.report.tables import Entry, Table

_SPECIAL = {
    '\\': r'\textbackslash{}',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    **{sign: f'\\{sign}' for sign in '&%$#_{}'},
    '±': r'$\pm$',
    '≈': r'$\approx$',
    '−': '$-$',
    '–': '--',
    '×': r'$\times$',
    '…': r'\dots{}',
    '’': "'",
    '<': r'\textless{}',
    '>': r'\textgreater{}',
    '|': r'\textbar{}',
    '"': r'\textquotedbl{}',
}


def escape(text: str) -> str:
    r"""Text that LaTeX sets as it is.

    >>> escape('50 % of a_b ± 1')
    '50 \\% of a\\_b $\\pm$ 1'
    """
    return ''.join(_SPECIAL.get(sign, sign) for sign in ' '.join(text.split()))


def latex_table(table: Table, note: str = '') -> str:
    """A `table` environment with booktabs rules. note: a paragraph below the table."""
    places = range(len(table.header))
    columns = ''.join('r' if table.is_number(place) else 'l' for place in places)
    lines = [
        r'\begin{table}',
        r'\centering',
        rf'\caption{{{escape(table.caption)}}}',
        rf'\begin{{tabular}}{{{columns}}}',
        r'\toprule',
        _line([escape(name) for name in table.header]),
        r'\midrule',
        *(_line([_entry(entry) for entry in row]) for row in table.rows),
        r'\bottomrule',
        r'\end{tabular}',
    ]
    lines += [rf'\par\smallskip\footnotesize {escape(note)}'] if note else []
    return '\n'.join([*lines, r'\end{table}'])


def _line(texts: list[str]) -> str:
    return f'{" & ".join(texts)} \\\\'


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    return rf'\textbf{{{text}}}' if entry.is_bold and text else text


def latex(section: Section) -> str:
    """All tables of results of a suite."""
    parts = [r'% Needs \usepackage{booktabs}. Written by gps-seg bench report.']
    for group, table in zip(section.groups, section.main, strict=True):
        lacking = words.lacking(group)
        missing = f' Not there: {"; ".join(lacking)}.' if lacking else ''
        parts.append(latex_table(table, words.rule(group) + missing))
    parts += [latex_table(table) for table in (*section.means, *section.costs)]
    parts += [latex_table(part.table, part.protocol) for part in section.published]
    return '\n\n'.join(parts) + '\n'
