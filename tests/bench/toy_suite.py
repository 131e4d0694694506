"""A suite of small trainings: linear and random on drawn discs, two seeds, three learning rates."""

from pathlib import Path
from typing import Any

from gps_seg.bench.suite import Suite
from tests.toy_runs import toy_config

LR = 'optim_wrapper.optimizer.lr'


def toy_suite(folder: Path, **changes: Any) -> Suite:
    """A suite over data and base weights that are written into `folder`."""
    config = toy_config(folder)
    config.pop('work_dir')
    config.pop('experiment_name')
    file = folder / 'toy.py'
    file.write_text(config.pretty_text)
    settings: dict[str, Any] = dict(
        name='toy',
        data={'discs': {}},
        models={'sam': {'config': str(file), 'options': {'default_hooks.fine_tune.probe': False}}},
        methods={
            'linear': {'method': {'type': 'Linear'}},
            'gps': {'label': 'GPS, K = 2', 'method': {'type': 'GPS', 'k': 2}},
            'random': {'method': {'type': 'Random', 'k': 2, 'seed': '$seed'}},
        },
        tune={LR: [1e-3, 3e-3, 1e-2]},
        extend='each',
        tune_epochs=1,
        epochs=2,
        seeds=(0, 1),
        reference='linear',
        control='random',
    )
    return Suite(**{**settings, **changes})


def write_suite(suite: Suite, path: Path) -> Path:
    """Write a suite as a file that `gps-seg bench run` takes."""
    lines = [f'{name} = {value!r}' for name, value in vars(suite).items()]
    path.write_text('\n'.join(lines) + '\n')
    return path
