"""Random draws that depend on the sample alone, never on a worker, an order or a global seed."""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

Draw = tuple[int, int, int]
# The draw of the sample around which SeededDataset seeds; None outside of it.
OUTER_DRAW: ContextVar[Draw | None] = ContextVar('outer_draw', default=None)


def draw_words(draw: Sequence[int]) -> list[int]:
    """A draw (seed, epoch, index) as entropy words, which cannot be negative: those are odd.

    >>> draw_words((7, -1, 3))
    [14, 1, 6]
    """
    return [2 * int(n) if n >= 0 else -2 * int(n) - 1 for n in draw]


def next_generator(results: dict[str, Any]) -> np.random.Generator:
    """A fresh generator for the next random transform of this sample.

    It is a function of `results['draw']` = (seed, epoch, index) and of how many generators the
    sample was given before, so two equal transforms in a row draw differently. Epochs may be
    negative (the views of a selection pass).

    Raises ValueError where the data set gives its samples no draw.
    """
    if 'draw' not in results:
        raise ValueError(
            f'the sample {results.get("img_path", "")} has no draw, which random transforms need; '
            'use MaskFolderDataset, or set it to (seed, epoch, index)'
        )
    position = results.get('num_generators', 0)
    results['num_generators'] = position + 1
    return np.random.default_rng([*draw_words(results['draw']), position])
