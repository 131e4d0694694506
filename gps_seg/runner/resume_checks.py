"""What a resume would silently change, and therefore refuses."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.runner import Runner

from gps_seg.runner.loops import UNITS, planned, unit_of

# What decides the rest of a training, of a config.
WATCHED = ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader')
# How images are loaded and where files lie change no result, nor does when the run is validated.
WEIGHTS = 'model.weights'
FREE = (
    'ann_file',
    'checkpoint',
    'data_root',
    'encoder_weights',
    'num_workers',
    'persistent_workers',
    'pin_memory',
    'prefetch_factor',
    'pretrained',
    'root',
    'val_begin',
    'val_interval',
)


def told_by(runner: Runner) -> dict[str, Any]:
    """What a checkpoint's `meta` must say for `check_resume`."""
    return {f'max_{unit_of(runner)}s': planned(runner), 'settings': settings_of(runner)}


def check_resume(runner: Runner, checkpoint: Mapping[str, Any]) -> None:
    """Raise ValueError where the run would go on with another schedule, or other settings.

    A checkpoint that does not say which it had is let pass.
    """
    meta = checkpoint.get('meta', {})
    unit = unit_of(runner)
    before, now = meta.get(f'max_{unit}s'), planned(runner)
    if before is not None and before != now:
        raise ValueError(
            f'the checkpoint belongs to a schedule of {before} {UNITS[unit]}, the config now says '
            f'{now}; its learning rates would be wrong from here on. Resume with --cfg-options '
            f'train_cfg.max_{unit}s={before}, or add --override, with which the learning rate goes '
            f'on as planned for {now}, or start a new run'
        )
    _check_seed(runner, meta)
    if meta.get('settings') is not None:
        check_settings(meta['settings'], settings_of(runner))


def _check_seed(runner: Runner, meta: Mapping[str, Any]) -> None:
    """Raise ValueError where the config names another seed; without one, the first is kept."""
    first = meta.get('seed')
    now = (runner.cfg.get('randomness') or {}).get('seed')
    if first is not None and now is not None and now != first:
        raise ValueError(
            f'the run to resume has seed {first}, the config now says randomness.seed={now}; the '
            'order of the images and their augmentations would belong to neither. Resume with '
            f'randomness.seed={first}, or start anew in another work dir'
        )


def settings_of(runner: Runner) -> dict[str, str]:
    """The settings of a run that a resume must keep, by dotted name."""
    settings: dict[str, str] = {}
    for part in WATCHED:
        value = runner.cfg.get(part)
        # A part that was built by hand says nothing of its settings.
        if isinstance(value, Mapping | list | tuple):
            _flatten(part, value, settings)
    inside = repr(str(Path(runner.work_dir).resolve()) + os.sep)[:-1]
    return {
        # The split lists of a run move with its work dir.
        name: value.replace(inside, "'") if name.endswith('.lists') else value
        for name, value in settings.items()
    }


def check_settings(saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise ValueError that lists every setting that differs."""
    differing = [name for name in {**saved, **now} if saved.get(name) != now.get(name)]
    if differing:
        lines = [
            f'{n} was {saved.get(n, "not set")}, now {now.get(n, "not set")}' for n in differing
        ]
        raise ValueError(
            f'the config differs from that of the run to resume: {"; ".join(lines)}. The rest of '
            'the training would belong to neither; resume with the first settings, or start anew '
            'in another work dir'
        )


def _flatten(name: str, value: Any, settings: dict[str, str]) -> None:
    if name.rpartition('.')[2] in FREE or name == WEIGHTS:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            _flatten(f'{name}.{key}', item, settings)
    elif isinstance(value, list | tuple) and any(isinstance(i, Mapping | list) for i in value):
        for place, item in enumerate(value):
            _flatten(f'{name}.{place}', item, settings)
    else:
        settings[name] = repr(list(value) if isinstance(value, tuple) else value)
