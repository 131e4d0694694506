"""Short names for the blocks of a network, as they stand under an axis."""

import re
from collections import Counter
from collections.abc import Sequence


def short_names(blocks: Sequence[str]) -> list[str]:
    """Numbers for the blocks of the longest numbered row, for the rest the name but what all share.

    >>> short_names(['net.stem', 'net.blocks.0', 'net.blocks.1', 'net.blocks.2'])
    ['stem', '0', '1', '2']
    >>> short_names(['layers.0.blocks.1', 'layers.1.blocks.0'])
    ['0.1', '1.0']
    """
    row, shared = _longest_row(blocks), _shared_parts(blocks)
    return [
        '.'.join(re.findall(r'(?:^|(?<=\.))\d+(?=\.|$)', block))
        if _pattern(block) == row
        else '.'.join(block.split('.')[shared:])
        for block in blocks
    ]


def axis_title(blocks: Sequence[str]) -> str:
    """What the numbers of `short_names` count.

    >>> axis_title(['net.blocks.0', 'net.blocks.1'])
    'block (net.blocks.*)'
    """
    row = _longest_row(blocks)
    return f'block ({row})' if row else 'block'


def _pattern(block: str) -> str:
    return re.sub(r'(^|(?<=\.))\d+(?=\.|$)', '*', block)


def _longest_row(blocks: Sequence[str]) -> str:
    rows = Counter(_pattern(block) for block in blocks if '*' in _pattern(block))
    return rows.most_common(1)[0][0] if rows else ''


def _shared_parts(blocks: Sequence[str]) -> int:
    """How many parts all names begin with; every name keeps one of its own."""
    parts = [block.split('.') for block in blocks]
    most = min(map(len, parts)) - 1
    return next((i for i in range(most) if len({part[i] for part in parts}) > 1), most)
