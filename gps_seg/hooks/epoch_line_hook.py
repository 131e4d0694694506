"""One line an epoch, and the learning curves."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop, Runner

from gps_seg.hooks.delta_checkpoint_hook import DeltaCheckpointHook, best_so_far
from gps_seg.runner.history import Row, history_of, remember, time_in_words, write_history
from gps_seg.visualization import save_figure
from gps_seg.visualization.curves import learning_curves

HISTORY_FILE, CURVES_FILE = 'metrics.csv', 'curves.png'
# Drawing takes a third of a second: not more often than this. Seconds.
BETWEEN_DRAWINGS = 60.0
LOSS = 'train/loss'


@HOOKS.register_module()
class EpochLineHook(Hook):
    """Logs a line an epoch: loss, the chosen metric, the best so far, the time left.

    Says it in words where the validation predicts one class on every pixel. Writes `metrics.csv`
    (loss, learning rate and every validation metric of each epoch) and `curves.png`. In a loop of
    iterations there is a line and a row for each validation.

    metric: the validation metric to show. Default: the one that DeltaCheckpointHook chooses by.
    """

    # After the best epoch is chosen, before the checkpoint is written.
    priority = 'LOW'

    def __init__(self, metric: str | None = None) -> None:
        self.metric = metric
        self._training = False
        self._line: str | None = None
        self._start = self._drawn = 0.0
        self._first_step = 0
        self._predicted: list[tuple[int, int]] = []

    def before_train(self, runner: Runner) -> None:
        self._training, self._line = True, None
        self._start, self._drawn = 0.0, time.monotonic()
        self._first_step = _step(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        # Not in before_train, where other hooks score the base.
        self._start = self._start or time.monotonic()
        self._flush(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        if not _by_iteration(runner):
            # The runner counts the epoch only after this hook.
            self._record(runner, runner.epoch + 1, {})

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        for sample in outputs or ():
            if 'pred_sem_seg' in sample:
                labels = sample.pred_sem_seg.data
                self._predicted.append((int(labels.min()), int(labels.max())))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        predicted, self._predicted = self._predicted, []
        if not self._training:
            return
        scores = {name: float(value) for name, value in (metrics or {}).items()}
        self._record(runner, _step(runner), scores)
        self._flush(runner)
        warning = one_class_only(
            [pair for part in all_gather_object(predicted) for pair in part],
            (getattr(runner.val_dataloader.dataset, 'metainfo', None) or {}).get('classes', ()),
        )
        if warning is not None:
            runner.logger.warning(warning)

    def after_train(self, runner: Runner) -> None:
        self._flush(runner)
        self._training = False
        self._draw(runner)

    def _record(self, runner: Runner, step: int, scores: dict[str, float]) -> None:
        unit = _unit(runner)
        remember(runner, unit, {unit: step, **_losses(runner), **scores})
        rows = history_of(runner)
        self._line = self._in_words(runner, rows[-1])
        if runner.rank == 0:
            write_history(Path(runner.work_dir) / HISTORY_FILE, rows)

    def _flush(self, runner: Runner) -> None:
        """Log the line of the last epoch, now that it is known whether it was validated."""
        if self._line is None:
            return
        runner.logger.info(self._line)
        self._line = None
        if time.monotonic() - self._drawn > BETWEEN_DRAWINGS:
            self._draw(runner)

    def _in_words(self, runner: Runner, row: Row) -> str:
        unit = _unit(runner)
        step, last = int(row[unit]), _last_step(runner)
        parts = [f'loss {row["loss"]:.4f}'] if 'loss' in row else []
        metric = self._metric(runner, row)
        if metric is not None:
            parts.append(f'{metric} {row[metric]:.2f}')
        best = best_so_far(runner)
        if best:
            at = f' ({unit} {best["epoch"]})' if 'epoch' in best else ''
            parts.append(f'best {best["score"]:.2f}{at}')
        if step < last and step > self._first_step:
            pace = (time.monotonic() - self._start) / (step - self._first_step)
            parts.append(f'{time_in_words(pace * (last - step))} left')
        return f'{unit.capitalize()} {step}/{last}: {", ".join(parts)}'

    def _metric(self, runner: Runner, row: Row) -> str | None:
        """The metric to show, of those that the row has."""
        chosen = [hook.chosen for hook in runner.hooks if isinstance(hook, DeltaCheckpointHook)]
        names = [self.metric, *chosen, *row]
        known = [n for n in names if n in row and n not in (_unit(runner), 'loss', 'lr')]
        return known[0] if known else None

    def _draw(self, runner: Runner) -> None:
        self._drawn = time.monotonic()
        rows = history_of(runner)
        if runner.rank or not rows:
            return
        unit = _unit(runner)
        metric = next((m for row in rows if (m := self._metric(runner, row)) is not None), '')

        def points(name: str) -> list[tuple[int, float]]:
            return [(int(row[unit]), row[name]) for row in rows if name in row]

        figure = learning_curves(points('loss'), points(metric), metric=metric, unit=unit)
        save_figure(figure, Path(runner.work_dir) / CURVES_FILE, dpi=120)


def one_class_only(ranges: Sequence[tuple[int, int]], classes: Sequence[str]) -> str | None:
    """What to say where every pixel of every image is predicted as one class; otherwise None.

    ranges: the smallest and the largest class of each image. classes: their names; the first of two
    is the background.
    """
    values = {value for pair in ranges for value in pair}
    if len(values) != 1:
        return None
    value = values.pop()
    name = classes[value] if value < len(classes) else f'class {value}'
    on = f'on every pixel of the {len(ranges)} validation images ({name!r} alone)'
    if len(classes) == 2:
        return f'The model predicts {"everything" if value else "nothing"} {on}'
    return f'The model predicts one class {on}'


def _losses(runner: Runner) -> Row:
    """The mean loss since the row before, and the first learning rate."""
    scalars = runner.message_hub.log_scalars
    row: Row = {}
    if LOSS in scalars:
        num = len(runner.train_dataloader)
        if _by_iteration(runner):
            num = runner.train_loop.val_interval
        row['loss'] = float(scalars[LOSS].mean(num))
    rates = runner.optim_wrapper.get_lr().get('lr', [])
    if rates:
        row['lr'] = float(rates[0])
    return row


def _by_iteration(runner: Runner) -> bool:
    return isinstance(runner.train_loop, IterBasedTrainLoop)


def _unit(runner: Runner) -> str:
    return 'iteration' if _by_iteration(runner) else 'epoch'


def _step(runner: Runner) -> int:
    return runner.iter if _by_iteration(runner) else runner.epoch


def _last_step(runner: Runner) -> int:
    return runner.max_iters if _by_iteration(runner) else runner.max_epochs
