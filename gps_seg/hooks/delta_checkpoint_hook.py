"""Keeps the best epoch as a delta."""

import json
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

import gps_seg
from gps_seg.delta import BASE_NAME, Delta
from gps_seg.hooks.fine_tune_hook import FineTuneHook, stock_model
from gps_seg.runner.resume_source import bring_along
from gps_seg.sparse import whole_names

DELTA = 'delta.safetensors'
BEST = 'best_delta.safetensors'


def fine_tune_hook(runner: Runner) -> FineTuneHook:
    """The runner's FineTuneHook. Raises ValueError where it has none."""
    for hook in runner.hooks:
        if isinstance(hook, FineTuneHook):
            return hook
    raise ValueError(
        'the config names no fine-tuning method; inherit one of configs/_base_/methods, or set '
        "default_hooks = dict(fine_tune=dict(type='FineTuneHook', method=dict(type='GPS', k=1)))"
    )


@HOOKS.register_module()
class DeltaCheckpointHook(Hook):
    """Ends the work dir with `delta.safetensors`: what differs from the base at the best epoch.

    save_best: the validation metric that decides, higher is better; without a validation the last
    epoch is kept. Runs before EMA's weights are swapped back, so that what was validated is what is
    stored.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self, save_best: str = 'mDice') -> None:
        self.save_best = save_best
        self._buffers: dict[str, Tensor] = {}
        self._training = False

    def before_run(self, runner: Runner) -> None:
        # Before a resume loads the trained buffers: a delta stores those that training changed.
        self._buffers = {
            name: buffer.detach().clone() for name, buffer in stock_model(runner).named_buffers()
        }

    def before_train(self, runner: Runner) -> None:
        self._training = True
        if 'best_score' in runner.message_hub.runtime_info:
            bring_along(runner, BEST, instead=DELTA)

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
            self.delta(runner).save(Path(runner.work_dir) / name)

    def delta(self, runner: Runner) -> Delta:
        """What the model is now, against its base."""
        tuner, model = fine_tune_hook(runner), stock_model(runner)
        buffers = dict(model.named_buffers())
        state = model.state_dict()
        changed = {
            name
            for name, before in self._buffers.items()
            if name in state and not bool((buffers[name] == before).all())
        }
        return Delta.of(
            state,
            tuner.selection,
            whole={*whole_names(model), *tuner.fresh, *changed},
            base=tuner.base,
            fresh=tuner.fresh,
            metadata=self._metadata(runner, tuner),
        )

    def _metadata(self, runner: Runner, tuner: FineTuneHook) -> dict[str, str]:
        info: dict[str, Any] = runner.message_hub.runtime_info
        # A runner may have been given a built model.
        model = runner.cfg.get('model') if isinstance(runner.cfg.get('model'), dict) else Config()
        source = model.get('checkpoint') or model.get('encoder_weights') or ''
        return {
            BASE_NAME: Path(source).name,
            'method': json.dumps(tuner.method_config),
            'provenance': json.dumps(dict(tuner.selection.provenance)),
            'model': json.dumps(model.to_dict()),
            'epoch': str(info.get('best_epoch', runner.epoch)),
            'config': runner.cfg.pretty_text,
            'version': gps_seg.__version__,
        }
