"""Random draws that depend on the sample alone, never on a worker, an order or a global seed."""

from typing import Any

import numpy as np


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
    # Entropy words cannot be negative: non-negative numbers go to the even ones.
    words = [2 * int(n) if n >= 0 else -2 * int(n) - 1 for n in results['draw']]
    return np.random.default_rng([*words, position])
