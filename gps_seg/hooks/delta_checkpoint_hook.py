"""Keeps the best epoch, or iteration: as a delta, or as the files of the method's library."""

import copy
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import barrier
from mmengine.evaluator import Evaluator
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from gps_seg.delta import BASE_NAME, Delta
from gps_seg.files import move_over, remove
from gps_seg.hooks.fine_tune_hook import FineTuneHook
from gps_seg.runner.checkpoints import plain
from gps_seg.runner.loops import num_done, unit_of
from gps_seg.runner.resume_source import bring_along
from gps_seg.tuning import Tuning
from gps_seg.tuning.own_files import is_own_files, read_saved

# What the best epoch so far is called, before the run has ended.
BEST = 'best_'
# In MMEngine's message hub; its own CheckpointHook keeps `best_score` there for itself.
BEST_SO_FAR = 'best_delta'
SCORE = 'best_score'
METRIC = 'best_metric'
# The main metric of an evaluator, where the setting names none.
MAIN_METRICS = {'ForegroundMetric': 'mDice', 'IoUMetric': 'mIoU'}
# What MMSegmentation's IoUMetric gives besides aAcc, by what it is asked for.
OF_IOU_METRIC = {
    'mIoU': ('mIoU', 'mAcc'),
    'mDice': ('mDice', 'mAcc'),
    'mFscore': ('mFscore', 'mPrecision', 'mRecall'),
}
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


def result_path(runner: Runner) -> Path:
    """Where the result of a run lies once it has ended: a file, or a folder."""
    return Path(runner.work_dir) / tuning_of(runner).result_name


def metadata_of(result: Path) -> Mapping[str, str]:
    """What a result says of itself. Raises ValueError where it is damaged."""
    return read_saved(result).metadata if is_own_files(result) else Delta.load(result).metadata


@HOOKS.register_module()
class DeltaCheckpointHook(Hook):
    """Ends the work dir with `delta.safetensors`: what differs from the base at the best epoch.

    A method without a delta (see `Tuning.has_delta`) leaves the folder of its library's files.

    save_best: the validation metric that decides, higher is better. None: the main metric of the
        evaluator. Without a validation the end of the training is kept, with EMA's weights where
        there is an EMAHook.
    dtype: 'bfloat16' or 'float16' to store rounded values, half the size; the report then scores
        what is stored. None: the precision of the base.

    Runs before EMA's weights are swapped back, so that what was validated is what is stored.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self, save_best: str | None = None, dtype: str | None = None) -> None:
        if dtype not in DTYPES:
            raise ValueError(f'dtype must be one of {", ".join(map(str, DTYPES))}, got {dtype!r}')
        self.save_best = save_best
        # The metric that decides, once a validation has shown what there is.
        self.chosen = save_best
        self.dtype = DTYPES[dtype]
        self._training = False

    def before_train(self, runner: Runner) -> None:
        given = None if runner.val_loop is None else metrics_told(runner.val_loop.evaluator)
        if self.save_best is not None and given is not None and self.save_best not in given:
            raise _no_metric(self.save_best, given)
        self._training = True
        name = tuning_of(runner).result_name
        if best_so_far(runner):
            bring_along(runner, BEST + name, instead=name)
        if runner.iter > 0:
            _take_up_best(runner)
        elif runner.rank == 0:
            # Of a run that broke off in this folder before its first checkpoint.
            remove(Path(runner.work_dir) / (BEST + name))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if not self._training:
            return  # validation alone
        name = self.save_best or main_metric(runner.val_loop.evaluator, metrics or {})
        if name is None or metrics is None or name not in metrics:
            raise _no_metric(name, metrics or ())
        self.chosen = name
        score = float(metrics[name])
        best = best_so_far(runner).get('score')
        if best is None or score > best or (math.isnan(best) and not math.isnan(score)):
            note = {'score': score, 'metric': name, unit_of(runner): num_done(runner)}
            runner.message_hub.update_info(BEST_SO_FAR, note)
            self._save(runner, BEST + tuning_of(runner).result_name)
            runner.logger.info(f'Best so far: {name} {score:.2f} on held-out images')
        if score == 0:
            runner.logger.warning(
                f'{name} is 0 on held-out images: nothing of them is predicted right. Where that '
                'stays, the training has collapsed: lower the learning rate '
                '(optim_wrapper.optimizer.lr), or let it rise more slowly (param_scheduler)'
            )

    def after_train(self, runner: Runner) -> None:
        result = result_path(runner)
        best = result.with_name(BEST + result.name)
        if not best_so_far(runner):
            with averaged_weights(runner):
                self._save(runner, result.name)
        elif runner.rank == 0 and best.exists():
            move_over(best, result)
        self._training = False
        barrier()  # whoever reads the file next may be another rank

    def _save(self, runner: Runner, name: str) -> None:
        if runner.rank == 0:
            path = Path(runner.work_dir) / name
            tuning_of(runner).save(path, dtype=self.dtype, **_metadata(runner))

    def delta(self, runner: Runner) -> Delta:
        """What the model is now, against its base."""
        return tuning_of(runner).delta(**_metadata(runner))


@contextmanager
def averaged_weights(runner: Runner) -> Iterator[None]:
    """Inside, the model has the weights of its EMA, if it has one; that is how it is validated."""
    hooks = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    for hook in hooks:
        hook.before_val_epoch(runner)
    yield
    for hook in reversed(hooks):
        hook.after_val_epoch(runner)


def best_so_far(runner: Runner) -> dict[str, Any]:
    """The best validation yet: `score`, and `epoch` or `iter`, whichever the loop counts.

    Empty where nothing was validated.
    """
    return runner.message_hub.runtime_info.get(BEST_SO_FAR, {})


def main_metric(evaluator: Evaluator, metrics: Mapping[str, float]) -> str | None:
    """The name, in `metrics`, of what the first metric of an evaluator is there for.

    A metric says it by an attribute `main_metric`; those of MMSegmentation and of this toolkit are
    known. Of others it is the first number that they give.
    """
    for metric in evaluator.metrics:
        name = getattr(metric, 'main_metric', None) or MAIN_METRICS.get(type(metric).__name__)
        asked = getattr(metric, 'metrics', None)
        if type(metric).__name__ == 'IoUMetric' and asked:
            name = asked[0]  # such as mDice
        named = f'{metric.prefix}/{name}' if metric.prefix else name
        if named in metrics:
            return named
    return next(iter(metrics), None)


def metrics_told(evaluator: Evaluator) -> list[str] | None:
    """What a validation will give, where each metric of the evaluator tells it; otherwise None.

    A metric tells it by an attribute `gives`; that of MMSegmentation is known.
    """
    names: list[str] = []
    for metric in evaluator.metrics:
        given = getattr(metric, 'gives', None)
        if type(metric).__name__ == 'IoUMetric':
            asked = [metric.metrics] if isinstance(metric.metrics, str) else metric.metrics
            given = ('aAcc', *(name for key in asked for name in OF_IOU_METRIC.get(key, (key,))))
        if given is None:
            return None
        names += [f'{metric.prefix}/{name}' if metric.prefix else name for name in given]
    return list(dict.fromkeys(names))


def _no_metric(name: str | None, given: Iterable[str]) -> ValueError:
    return ValueError(
        f'the validation gives no {name!r} (it gives {", ".join(given) or "nothing"}); set '
        'save_best of the DeltaCheckpointHook to one of these'
    )


def _take_up_best(runner: Runner) -> None:
    """Count in the best epoch of a resumed run that its checkpoint does not know of.

    MMEngine's own CheckpointHook writes before the epoch is validated.
    """
    unit = unit_of(runner)
    result = result_path(runner)
    for path in (result.with_name(BEST + result.name), result):
        about = metadata_of(path) if path.exists() else {}
        if SCORE not in about or unit not in about or int(about[unit]) > num_done(runner):
            continue
        if float(about[SCORE]) > best_so_far(runner).get('score', -math.inf):
            note: dict[str, Any] = {'score': float(about[SCORE]), unit: int(about[unit])}
            if METRIC in about:
                note['metric'] = about[METRIC]
            runner.message_hub.update_info(BEST_SO_FAR, note)


def _metadata(runner: Runner) -> dict[str, str]:
    # A runner may have been given a built model.
    model = runner.cfg.get('model') if isinstance(runner.cfg.get('model'), dict) else Config()
    best, unit = best_so_far(runner), unit_of(runner)
    files = fine_tune_hook(runner).base_files
    source = next(
        (model[k] for k in ('checkpoint', 'encoder_weights', 'weights') if model.get(k)), ''
    )
    source = source or (files[-1] if files else '')
    return {
        BASE_NAME: Path(source).name,
        # Configs in Python's own syntax name classes themselves.
        'model': json.dumps(model.to_dict(), default=str),
        'dataset_meta': json.dumps(_dataset_meta(runner)),
        unit: str(best.get(unit, num_done(runner))),
        'config': _config_of_the_run(runner),
        **({SCORE: repr(best['score'])} if best else {}),
        **({METRIC: best['metric']} if 'metric' in best else {}),
    }


def _dataset_meta(runner: Runner) -> dict[str, Any]:
    """The classes and their colours, where the data set knows them."""
    known = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
    names = [name for name in ('classes', 'palette') if known.get(name) is not None]
    return {name: plain(known[name]) for name in names}


def _config_of_the_run(runner: Runner) -> str:
    """The config's text, the same for a run that was resumed as for one that never stopped."""
    config = copy.deepcopy(runner.cfg)
    config.resume, config.load_from = False, fine_tune_hook(runner).base
    return config.pretty_text
