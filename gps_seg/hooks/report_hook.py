"""What a run leaves to look at: numbers before and after, and pictures."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.dist import barrier
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, Runner

from gps_seg.files import num_bytes, write_content
from gps_seg.hooks.delta_checkpoint_hook import best_so_far, result_path, tuning_of
from gps_seg.runner.class_pictures import ClassRecorder
from gps_seg.runner.evaluate import evaluate
from gps_seg.runner.loops import UNITS, planned, unit_of
from gps_seg.runner.pictures import AFTER, BEFORE, Classes, MaskRecorder
from gps_seg.runner.prompt_report import check_prompts, prompt_report, report_on_prompts
from gps_seg.runner.protocol import TEST, choice_of_epoch
from gps_seg.selection import random_state, set_random_state

ZERO_SHOT = 'zero_shot.json'
METRICS = 'metrics.json'
SECONDS = 'train_seconds'


@HOOKS.register_module()
class ReportHook(Hook):
    """Scores the base before training and the best epoch after it, on the test split.

    Where the config has no test split, the validation split is scored, and the metrics are named
    `val/...`. Nothing here selects or tunes anything. zero_shot: whether to score the base.
    num_pictures: images of the overlay sheet (image, truth, before, after): the worst, the median
        and the best by their Dice after training; of a classifier, its surest mistakes; 0 for none.
    prompts: settings of a `PromptReport`, to score a SAM's answers to each kind of prompt too,
        before (where zero_shot) and after, as `box/mDice` and so on; None for no such scores.

    Writes `metrics.json` (flat: name -> number, percents) and `overlays/sheet.png`. Where the
    validation images are test images, as in much published code, the log says so beside the scores,
    and metrics.json has `best_test_epoch`.
    """

    priority = 'LOW'

    def __init__(
        self,
        zero_shot: bool = True,
        num_pictures: int = 6,
        prompts: dict[str, Any] | None = None,
    ) -> None:
        self.zero_shot = zero_shot
        self.num_pictures = num_pictures
        self.prompts = prompt_report(prompts)
        self._start = self._seconds_before = 0.0

    def before_train(self, runner: Runner) -> None:
        if runner.iter == 0 and runner.rank == 0:
            # Of a run that broke off in this folder before its first checkpoint.
            (Path(runner.work_dir) / ZERO_SHOT).unlink(missing_ok=True)
            shutil.rmtree(Path(runner.work_dir) / 'overlays', ignore_errors=True)
        barrier()  # before another rank writes there
        if self.prompts is not None:
            # Not only after hours of training.
            check_prompts(runner.model, self._loop(runner).dataloader.dataset)
        if self.zero_shot and runner.iter == 0:
            state = random_state()
            pictures = self._recorder(runner, BEFORE)
            metrics = self._score(runner, 'Zero-shot', pictures)
            set_random_state(state)
            _write_json(runner, ZERO_SHOT, metrics)
            runner.logger.info(f'Zero-shot, before any training: {_listed(metrics)}')
        self._seconds_before = runner.message_hub.runtime_info.get(SECONDS, 0.0)
        self._start = time.monotonic()

    def after_train_epoch(self, runner: Runner) -> None:
        self._count_seconds(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self._start:
            self._count_seconds(runner)

    def _count_seconds(self, runner: Runner) -> None:
        # In the checkpoint, so that a resumed run reports the time of all its parts.
        seconds = self._seconds_before + time.monotonic() - self._start
        runner.message_hub.update_info(SECONDS, seconds)

    def after_train(self, runner: Runner) -> None:
        seconds = runner.message_hub.runtime_info.get(SECONDS, 0.0)
        folder = Path(runner.work_dir)
        tuning_of(runner).load(result_path(runner))
        pictures = self._recorder(runner, AFTER)
        final = self._score(runner, 'Test', pictures)
        metrics: dict[str, float] = {
            **final,
            **self._counts(runner),
            SECONDS: round(seconds, 1),
            'delta_bytes': num_bytes(result_path(runner)),
        }
        if (folder / ZERO_SHOT).is_file():
            before = json.loads((folder / ZERO_SHOT).read_text())
            metrics |= {f'zero_shot/{name}': value for name, value in before.items()}
        _write_json(runner, METRICS, metrics)
        runner.logger.info(f'{self._split(runner)} split, {_named(runner)}: {_listed(final)}')
        sheet = pictures.draw(self.num_pictures) if pictures else None
        if sheet:
            runner.logger.info(f'Pictures: {sheet}')

    def _recorder(self, runner: Runner, when: str) -> MaskRecorder | ClassRecorder | None:
        if not self.num_pictures:
            return None
        meta = getattr(self._loop(runner).dataloader.dataset, 'metainfo', None) or {}
        if meta.get('dataset_type') == 'image_classes':
            names = tuple(map(str, meta['classes']))
            return ClassRecorder(Path(runner.work_dir) / 'overlays', names)
        classes = Classes.of(self._loop(runner).dataloader.dataset)
        return MaskRecorder(Path(runner.work_dir) / 'overlays', when, classes)

    def _counts(self, runner: Runner) -> dict[str, float]:
        tuning = tuning_of(runner)
        summary = tuning.summary()
        counts: dict[str, float] = {
            'trainable': summary.trainable,
            'selected': summary.selected,
            'total': summary.total,
            UNITS[unit_of(runner)]: planned(runner),
            'selection_seconds': round(tuning.seconds, 1),
        }
        best, unit = best_so_far(runner), unit_of(runner)
        if best:
            counts |= {f'best_{unit}': best[unit], 'val/best': best['score']}
        if choice_of_epoch(runner, was_validated=bool(best)) == TEST:
            counts[f'best_test_{unit}'] = best[unit]
        return counts

    def _split(self, runner: Runner) -> str:
        return 'test' if runner.test_loop is not None else 'val'

    def _loop(self, runner: Runner) -> BaseLoop:
        loop = runner.test_loop if self._split(runner) == 'test' else runner.val_loop
        if loop is None:
            raise ValueError(
                'the config has neither test_dataloader nor val_dataloader to score on; add one, '
                'or drop default_hooks.report'
            )
        return loop

    def _score(
        self, runner: Runner, name: str, each: Callable[[Any], None] | None
    ) -> dict[str, float]:
        loop = self._loop(runner)
        metrics = evaluate(
            runner.model,
            loop.dataloader,
            loop.evaluator,
            each=each,
            name=name,
        )
        if self.prompts is not None and runner.rank == 0:
            metrics |= report_on_prompts(runner.model, loop.dataloader.dataset, self.prompts)
        prefix = '' if self._split(runner) == 'test' else 'val/'
        return {f'{prefix}{key}': float(value) for key, value in metrics.items()}


def _named(runner: Runner) -> str:
    """Which epoch, or iteration, is scored, and by what it was chosen."""
    chosen = choice_of_epoch(runner, was_validated=bool(best_so_far(runner)))
    order, _, where = chosen.partition(' ')
    return f'{order} {unit_of(runner)}{f" {where}" if chosen == TEST else ""}'


def _listed(metrics: dict[str, float]) -> str:
    return ', '.join(f'{name} {value:.2f}' for name, value in metrics.items())


def _write_json(runner: Runner, name: str, content: dict[str, float]) -> None:
    if runner.rank == 0:
        text = json.dumps(content, indent=2) + '\n'
        write_content(Path(runner.work_dir) / name, text)
