"""Figures as SVG that stands inside a page and follows its light or dark colours."""

import io
import re
from itertools import count

import matplotlib
from matplotlib.figure import Figure

# Stand-ins that matplotlib writes out, for what only the page knows.
INK, PALE, GRID = '#010203', '#010204', '#010205'
# The same colours in a file of its own, on white.
_ON_WHITE = {INK: '#222222', PALE: '#777777', GRID: '#dddddd'}
_VARIABLES = {INK: 'var(--ink)', PALE: 'var(--pale)', GRID: 'var(--grid)'}


class Drawings:
    """Makes SVG of figures for one page: no two share an id.

    The same figures in the same order give the same text.
    """

    def __init__(self) -> None:
        self._numbers = count()

    def __call__(self, figure: Figure, description: str) -> str:
        """An `<svg>` element as wide as its place. description: what a reader hears of it."""
        prefix = f'f{next(self._numbers)}'
        text = io.StringIO()
        nothing = {'Date': None, 'Creator': None, 'Format': None, 'Type': None}
        figure.patch.set_alpha(0)
        for axes in figure.axes:
            axes.patch.set_alpha(0)
        with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': prefix}):
            figure.savefig(text, format='svg', metadata=nothing)
        return _for_a_page(text.getvalue(), prefix, description)


def on_white(figure: Figure) -> str:
    """A figure as the text of an SVG file. The same figure gives the same text."""
    text = io.StringIO()
    figure.patch.set(alpha=1, facecolor='white')
    with matplotlib.rc_context({'svg.fonttype': 'path', 'svg.hashsalt': 'gps-seg'}):
        figure.savefig(text, format='svg', metadata={'Date': None, 'Creator': None})
    svg = text.getvalue()
    for colour, shown in _ON_WHITE.items():
        svg = svg.replace(colour, shown)
    return svg


def _for_a_page(svg: str, prefix: str, description: str) -> str:
    svg = svg[svg.index('<svg') :]
    # Names of parts, such as `patch_1`, would clash with those of the next figure.
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r'(xlink:href|href)="#([^"]+)"', rf'\1="#{prefix}-\2"', svg)
    svg = re.sub(r'url\(#([^)]+)\)', rf'url(#{prefix}-\1)', svg)
    svg = re.sub(r'<metadata>.*?</metadata>', '', svg, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    # The page's font is narrower than the one that was measured, so texts keep their room.
    svg = re.sub(r'(font:[^;\"]*?px) [^;\"]+', r'\1 var(--font)', svg)
    size = re.search(r'viewBox="([^"]+)"', svg)
    assert size is not None
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{size[1]}" role="img" aria-label="{_attribute(description)}">'
    )
    return opening + svg[svg.index('>', svg.index('<svg')) + 1 :].strip()


def _attribute(text: str) -> str:
    for sign, name in (('&', '&amp;'), ('<', '&lt;'), ('"', '&quot;')):
        text = text.replace(sign, name)
    return text
