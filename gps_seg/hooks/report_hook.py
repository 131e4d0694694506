"""What a run leaves to look at: numbers before and after, and pictures."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, Runner

from gps_seg.delta import Delta
from gps_seg.files import write_content
from gps_seg.hooks.delta_checkpoint_hook import DELTA, tuning_of
from gps_seg.runner.evaluate import evaluate
from gps_seg.selection import random_state, set_random_state
from gps_seg.visualization import overlay_sheet, save_figure, save_image

ZERO_SHOT = 'zero_shot.json'
METRICS = 'metrics.json'
SECONDS = 'train_seconds'


@HOOKS.register_module()
class ReportHook(Hook):
    """Scores the base before training and the best epoch after it, on the test split.

    Where the config has no test split, the validation split is scored, and the metrics are named
    `val/...`. Nothing here selects or tunes anything. zero_shot: whether to score the base.
    num_pictures: images of the overlay sheet (image, truth, before, after); 0 for none.

    Writes `metrics.json` (flat: name -> number, percents) and `overlays/sheet.png`.
    """

    priority = 'LOW'

    def __init__(self, zero_shot: bool = True, num_pictures: int = 6) -> None:
        self.zero_shot = zero_shot
        self.num_pictures = num_pictures
        self._start = self._seconds_before = 0.0

    def before_train(self, runner: Runner) -> None:
        if runner.iter == 0 and runner.rank == 0:
            # Of a run that broke off in this folder before its first checkpoint.
            (Path(runner.work_dir) / ZERO_SHOT).unlink(missing_ok=True)
            shutil.rmtree(Path(runner.work_dir) / 'overlays', ignore_errors=True)
        if self.zero_shot and runner.iter == 0:
            state = random_state()
            pictures = self._predictions(runner, 'before')
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
        tuning_of(runner).load_delta(Delta.load(folder / DELTA))
        pictures = self._predictions(runner, 'after')
        final = self._score(runner, 'Test', pictures)
        metrics: dict[str, float] = {
            **final,
            **self._counts(runner),
            SECONDS: round(seconds, 1),
            'delta_bytes': (folder / DELTA).stat().st_size,
        }
        if (folder / ZERO_SHOT).is_file():
            before = json.loads((folder / ZERO_SHOT).read_text())
            metrics |= {f'zero_shot/{name}': value for name, value in before.items()}
        _write_json(runner, METRICS, metrics)
        runner.logger.info(f'{self._split(runner)} split, best epoch: {_listed(final)}')
        if self.num_pictures and runner.rank == 0:
            sheet = _draw_sheet(folder / 'overlays', pictures)
            runner.logger.info(f'Pictures: {sheet}')

    def _predictions(self, runner: Runner, when: str) -> '_Predictions':
        limit = self.num_pictures if runner.rank == 0 else 0
        return _Predictions(Path(runner.work_dir) / 'overlays', when, limit)

    def _counts(self, runner: Runner) -> dict[str, float]:
        tuning = tuning_of(runner)
        summary = tuning.summary()
        counts: dict[str, float] = {
            'trainable': summary.trainable,
            'selected': summary.selected,
            'total': summary.total,
            'epochs': runner.max_epochs,
            'selection_seconds': round(tuning.seconds, 1),
        }
        info: dict[str, Any] = runner.message_hub.runtime_info
        if 'best_score' in info:
            counts |= {'best_epoch': info['best_epoch'], 'val/best': info['best_score']}
        return counts

    def _split(self, runner: Runner) -> str:
        return 'test' if runner.test_loop is not None else 'val'

    def _score(self, runner: Runner, name: str, each: Callable[[Any], None]) -> dict[str, float]:
        loop: BaseLoop = runner.test_loop if self._split(runner) == 'test' else runner.val_loop
        if loop is None:
            raise ValueError(
                'the config has neither test_dataloader nor val_dataloader to score on; add one, '
                'or drop default_hooks.report'
            )
        metrics = evaluate(
            runner.model,
            loop.dataloader,
            loop.evaluator,
            each=each,
            name=name,
        )
        prefix = '' if self._split(runner) == 'test' else 'val/'
        return {f'{prefix}{key}': float(value) for key, value in metrics.items()}


class _Predictions:
    """Keeps the predicted masks of the first images as PNG files, so that a resume finds them."""

    def __init__(self, folder: Path, when: str, limit: int) -> None:
        self.folder = folder
        self.when = when
        self.limit = limit
        self.samples: list[Any] = []

    def path(self, sample: Any) -> Path:
        return self.folder / self.when / f'{Path(sample.img_path).stem}.png'

    def __call__(self, sample: Any) -> None:
        if len(self.samples) == self.limit:
            return
        self.samples.append(sample)
        mask = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8) * 255
        save_image(mask, self.path(sample))


def _draw_sheet(folder: Path, after: _Predictions) -> Path:
    rows = []
    for sample in after.samples:
        image = cv2.cvtColor(cv2.imread(sample.img_path), cv2.COLOR_BGR2RGB)
        truth = sample.gt_sem_seg.data[0].cpu().numpy() == 1
        prediction = sample.pred_sem_seg.data[0].cpu().numpy() == 1
        path = folder / 'before' / f'{Path(sample.img_path).stem}.png'
        before = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0 if path.is_file() else None
        rows.append((image, truth, before, prediction))
    names = [Path(sample.img_path).stem for sample in after.samples]
    save_figure(overlay_sheet(rows, names=names), folder / 'sheet.png')
    return folder / 'sheet.png'


def _listed(metrics: dict[str, float]) -> str:
    return ', '.join(f'{name} {value:.2f}' for name, value in metrics.items())


def _write_json(runner: Runner, name: str, content: dict[str, float]) -> None:
    if runner.rank == 0:
        text = json.dumps(content, indent=2) + '\n'
        write_content(Path(runner.work_dir) / name, text)
