"""Learning curves of a run, from the lines that MMEngine's visualizer left."""

import json
from pathlib import Path
from typing import Any


def curves_of(run: Path, metric: str) -> dict[str, list[list[float]]]:
    """The training loss by iteration and the validation metric by epoch.

    A run that was resumed has a file for each part; of what was done twice the later counts.
    """
    loss: dict[int, float] = {}
    validation: dict[int, float] = {}
    for file in sorted(run.glob('*/vis_data/scalars.json')):
        for line in file.read_text(encoding='utf-8').splitlines():
            entry = _entry(line)
            if 'loss' in entry and 'step' in entry:
                loss[int(entry['step'])] = float(entry['loss'])
            elif metric in entry and 'step' in entry:
                validation[int(entry['step'])] = float(entry[metric])
    return {'loss': _pairs(loss), 'validation': _pairs(validation)}


def _entry(line: str) -> dict[str, Any]:
    try:
        return json.loads(line)
    except ValueError:  # the last line of a killed run
        return {}


def _pairs(values: dict[int, float]) -> list[list[float]]:
    return [[step, values[step]] for step in sorted(values)]
