"""What is wrong with data, as findings that a command can list or raise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal['error', 'warning', 'note']


def named(names: Sequence[str], limit: int = 5) -> str:
    """The first few of many names, for a message."""
    rest = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + rest


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth knowing, and what to do about it.

    files: all that it is about. missing: whether files are not there, for the kind of exception.
    """

    level: Level
    text: str
    fix: str = ''
    files: tuple[str, ...] = ()
    missing: bool = False

    def __str__(self) -> str:
        return f'{self.text}; {self.fix}' if self.fix else self.text

    def error(self) -> Exception:
        """The exception that stands for it."""
        return FileNotFoundError(str(self)) if self.missing else ValueError(str(self))


def raise_first(findings: Sequence[Finding]) -> None:
    """Raise the first error among findings, if there is one."""
    for finding in findings:
        if finding.level == 'error':
            raise finding.error()
