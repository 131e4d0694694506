"""Keeps the best epoch as a delta."""

import copy
import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import barrier
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from gps_seg.delta import BASE_NAME, Delta
from gps_seg.hooks.fine_tune_hook import FineTuneHook
from gps_seg.runner.resume_source import bring_along
from gps_seg.tuning import Tuning

DELTA = 'delta.safetensors'
BEST = 'best_delta.safetensors'
SCORE = 'best_score'
DTYPES = {None: None, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


def fine_tune_hook(runner: Runner) -> FineTuneHook:
    """The runner's FineTuneHook. Raises ValueError where it has none."""
    for hook in runner.hooks:
        if isinstance(hook, FineTuneHook):
            return hook
    raise ValueError(
        'the config names no fine-tuning method; inherit one of configs/_base_/methods, or set '
        "default_hooks = dict(fine_tune=dict(type='FineTuneHook', method=dict(type='GPS', k=1)))"
    )


def tuning_of(runner: Runner) -> Tuning:
    """The runner's fine-tuning. Raises ValueError where it has none, or it has not begun."""
    tuning = fine_tune_hook(runner).tuning
    if tuning is None:
        raise ValueError('the fine-tuning has not begun: the runner trains nothing')
    return tuning


@HOOKS.register_module()
class DeltaCheckpointHook(Hook):
    """Ends the work dir with `delta.safetensors`: what differs from the base at the best epoch.

    save_best: the validation metric that decides, higher is better; without a validation the last
        epoch is kept.
    dtype: 'bfloat16' or 'float16' to store rounded values, half the size; the report then scores
        what is stored. None: the precision of the base.

    Runs before EMA's weights are swapped back, so that what was validated is what is stored.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self, save_best: str = 'mDice', dtype: str | None = None) -> None:
        if dtype not in DTYPES:
            raise ValueError(f'dtype must be one of {", ".join(map(str, DTYPES))}, got {dtype!r}')
        self.save_best = save_best
        self.dtype = DTYPES[dtype]
        self._training = False

    def before_train(self, runner: Runner) -> None:
        self._training = True
        if 'best_score' in runner.message_hub.runtime_info:
            bring_along(runner, BEST, instead=DELTA)
        if runner.iter > 0:
            _take_up_best(runner)
        elif runner.rank == 0:
            # Of a run that broke off in this folder before its first checkpoint.
            (Path(runner.work_dir) / BEST).unlink(missing_ok=True)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if not self._training:
            return  # validation alone
        if metrics is None or self.save_best not in metrics:
            given = ', '.join(metrics or ())
            raise ValueError(
                f'the validation gives no {self.save_best!r} (it gives {given}); '
                'set default_hooks.delta.save_best to one of these'
            )
        score = float(metrics[self.save_best])
        best = runner.message_hub.runtime_info.get('best_score')
        if best is None or score > best:
            runner.message_hub.update_info('best_score', score)
            runner.message_hub.update_info('best_epoch', runner.epoch)
            self._save(runner, BEST)
            runner.logger.info(f'Best so far: {self.save_best} {score:.2f} on held-out images')

    def after_train(self, runner: Runner) -> None:
        folder = Path(runner.work_dir)
        if 'best_score' not in runner.message_hub.runtime_info:
            self._save(runner, DELTA)
        elif runner.rank == 0 and (folder / BEST).is_file():
            os.replace(folder / BEST, folder / DELTA)
        self._training = False
        barrier()  # whoever reads the file next may be another rank

    def _save(self, runner: Runner, name: str) -> None:
        if runner.rank == 0:
            self.delta(runner).save(Path(runner.work_dir) / name, dtype=self.dtype)

    def delta(self, runner: Runner) -> Delta:
        """What the model is now, against its base."""
        return tuning_of(runner).delta(**_metadata(runner))


def _take_up_best(runner: Runner) -> None:
    """Count in the best epoch of a resumed run that its checkpoint does not know of.

    MMEngine's own CheckpointHook writes before the epoch is validated.
    """
    info = runner.message_hub.runtime_info
    for path in (Path(runner.work_dir) / name for name in (BEST, DELTA)):
        about = Delta.load(path).metadata if path.is_file() else {}
        if SCORE not in about or int(about['epoch']) > runner.epoch:
            continue
        if float(about[SCORE]) > info.get('best_score', -math.inf):
            runner.message_hub.update_info('best_score', float(about[SCORE]))
            runner.message_hub.update_info('best_epoch', int(about['epoch']))


def _metadata(runner: Runner) -> dict[str, str]:
    info: dict[str, Any] = runner.message_hub.runtime_info
    # A runner may have been given a built model.
    model = runner.cfg.get('model') if isinstance(runner.cfg.get('model'), dict) else Config()
    source = model.get('checkpoint') or model.get('encoder_weights') or ''
    return {
        BASE_NAME: Path(source).name,
        'model': json.dumps(model.to_dict()),
        'epoch': str(info.get('best_epoch', runner.epoch)),
        'config': _config_of_the_run(runner),
        **({SCORE: repr(info['best_score'])} if 'best_score' in info else {}),
    }


def _config_of_the_run(runner: Runner) -> str:
    """The config's text, the same for a run that was resumed as for one that never stopped."""
    config = copy.deepcopy(runner.cfg)
    config.resume, config.load_from = False, None
    return config.pretty_text
