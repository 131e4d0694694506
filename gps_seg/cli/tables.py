"""Tables on the terminal, and whole in a pipe or a file."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of text: the first column to the left, the others, numbers, to the right."""
    made = Table(box=None, pad_edge=False)
    for position, name in enumerate(header):
        made.add_column(name, justify='right' if position else 'left', overflow='fold')
    for row in rows:
        made.add_row(*row)
    return made


def pairs(values: Iterable[tuple[str, object]]) -> str:
    """Names and values as lines, the values below each other."""
    lines = [(name, str(value)) for name, value in values]
    width = max(len(name) for name, _ in lines)
    return '\n'.join(f'{name.ljust(width)}  {value}' for name, value in lines)


def show(*parts: str | Table) -> None:
    """Print texts and tables, an empty line between them.

    Only a terminal bounds the width of a table: what is read by a program is never cut or wrapped.
    """
    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
    for position, part in enumerate(parts):
        if position:
            console.print()
        if isinstance(part, Table) and not console.is_terminal:
            console.width = console.measure(
                part, options=console.options.update(width=10_000)
            ).maximum
        console.print(part)
