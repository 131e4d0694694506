"""What a training would cost, from a few probe steps."""

import copy
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.cli.quiet_runner import QuietRunner
from gps_seg.hooks.delta_checkpoint_hook import fine_tune_hook, tuning_of
from gps_seg.methods import Plan, build_method
from gps_seg.runner.config_hooks import drop_hooks, hook_settings
from gps_seg.runner.history import time_in_words
from gps_seg.sparse import TrainableSummary
from gps_seg.tuning import SelectionPass
from gps_seg.tuning.auto_start import HEADER, WHY, table_of
from gps_seg.tuning.live_bytes import LiveBytes
from gps_seg.tuning.prefix_cache import CacheSettings, PrefixCache, keep_prefix

TIMED = 3  # steps, of which the median counts


@dataclass(frozen=True)
class Estimate:
    """What was counted (images, parameters) and what a few steps suggest (bytes, seconds).

    state_bytes: what the optimizer keeps between steps. step_bytes: the most that a step holds
    beside that and the weights: activations, gradients and passing values of the training's batch
    and precision. process_bytes, device_bytes: the peak of this process, which did all that a
    training does, and of tensors on the GPU (0 without one).
    selection_seconds: of the whole selection pass, 0 for a method without one; with 'auto', of the
    choice of the start too. step_seconds: of one iteration. validation_seconds: of all validations.
    start: the blocks that 'auto' chose from, as text. cache_bytes: of the prefix cache on the disk,
    0 without one.
    """

    summary: TrainableSummary
    images: dict[str, int]
    parameter_bytes: int
    state_bytes: int
    step_bytes: int
    process_bytes: int
    device_bytes: int
    selection_seconds: float
    step_seconds: float
    num_steps: int
    validation_seconds: float
    start: str = ''
    cache_bytes: float = 0

    @property
    def training_seconds(self) -> float:
        """Of all steps and validations."""
        return self.step_seconds * self.num_steps + self.validation_seconds

    def __str__(self) -> str:
        memory = self.parameter_bytes + self.state_bytes + self.step_bytes
        device = f', {_mib(self.device_bytes)} of the GPU' if self.device_bytes else ''
        data = ', '.join(f'{split} {num}' for split, num in self.images.items())
        return '\n'.join(
            (
                f'Data found: {data} images',
                str(self.summary),
                f'Memory of training, counted: {_mib(memory)} of tensors at the peak of a step '
                f'(parameters {_mib(self.parameter_bytes)}, optimizer {_mib(self.state_bytes)}, '
                f'activations and gradients {_mib(self.step_bytes)})',
                f'Peak memory: about {_mib(self.process_bytes)} of the process without its data '
                f'workers{device}',
                # The steps counted for 'auto' are scaled like the pass, though they stay as many.
                f'Selection{" and start: at most" if self.start else ": about"} '
                f'{time_in_words(self.selection_seconds)}',
                f'Training: about {time_in_words(self.training_seconds)} ({self.num_steps} steps '
                f'of {self.step_seconds:.2f} s, validation '
                f'{time_in_words(self.validation_seconds)})',
                *([self._cache()] if self.cache_bytes else []),
                *([self.start] if self.start else []),
            )
        )

    def _cache(self) -> str:
        return (
            f'Prefix cache: {_mib(self.cache_bytes)} on the disk for all images and views, filled '
            'once before the first step; this dry run has stored those of one batch, and removed '
            'them'
        )


class _Measured(Exception):
    """Ends the dry run with its result."""

    def __init__(self, estimate: Estimate) -> None:
        super().__init__('the dry run is done')
        self.estimate = estimate


class _MeasureHook(Hook):
    """Measures one real training step, then leaves the loop."""

    priority = 'VERY_LOW'

    def __init__(self, selection: SelectionPass | None) -> None:
        self.selection = selection
        self.step_bytes = 0
        self.cache_settings: CacheSettings | None = None
        self.cache_bytes = 0.0
        self.cache: PrefixCache | None = None

    def before_run(self, runner: Runner) -> None:
        # The stored views are set up by now; the features of all of them are not to be computed.
        hook = fine_tune_hook(runner)
        self.cache_settings, hook.cache_settings = hook.cache_settings, None

    def before_train(self, runner: Runner) -> None:
        self.batch = next(iter(runner.train_dataloader))
        if self.cache_settings is not None:
            self._cache_batch(runner, self.cache_settings)
        # The first step of a process allocates and compiles. The second one, whose optimizer has
        # its state, is counted, and not timed either.
        self._step(runner)
        with LiveBytes() as counted:
            self._step(runner)
        self.step_bytes = counted.peak
        seconds = statistics.median(_timed(lambda: self._step(runner)) for _ in range(TIMED))
        if self.cache is not None:
            self.cache.close()
        raise _Measured(self._estimate(runner, seconds))

    def _cache_batch(self, runner: Runner, settings: CacheSettings) -> None:
        """Train on stored features of the one batch."""
        tuning = tuning_of(runner)
        model: Any = tuning.model
        images = model.data_preprocessor(copy.deepcopy(self.batch), True)['inputs']
        with runner.optim_wrapper.optim_context(runner.model):
            self.cache = keep_prefix(
                tuning,
                lambda: [images],
                num_images=len(images),
                settings=replace(settings, folder=Path(runner.work_dir, 'prefix')),
            )
        views: Any = runner.train_dataloader.dataset
        size = self.cache.store.size / self.cache.num_images
        self.cache_bytes = size * len(views.draws())

    def _step(self, runner: Runner) -> None:
        runner.model.train()
        # Padding writes into the data samples.
        batch = copy.deepcopy(self.batch)
        runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)

    def _estimate(self, runner: Runner, seconds: float) -> Estimate:
        tuning = tuning_of(runner)
        model = tuning.model
        optimizer = runner.optim_wrapper.optimizer
        states = [tensor for state in optimizer.state.values() for tensor in state.values()]
        validation = _validation_seconds(runner)  # before the peaks are read: it allocates too
        return Estimate(
            tuning.summary(),
            _images(runner),
            sum(parameter.nbytes for parameter in model.parameters()),
            sum(t.nbytes for t in states if torch.is_tensor(t)),
            self.step_bytes,
            _process_peak(),
            torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
            self._selection_seconds(runner),
            seconds,
            runner.max_iters,
            validation,
            start_in_words(tuning.plan),
            self.cache_bytes,
        )

    def _selection_seconds(self, runner: Runner) -> float:
        if self.selection is None:
            # Without a pass over images, planning takes time where it counts training steps alone.
            return tuning_of(runner).seconds if table_of(tuning_of(runner).plan) else 0.0
        num_images = len(runner.train_dataloader.dataset)
        hook = fine_tune_hook(runner)
        probed = min(hook.selection_pass.num_images or num_images, num_images)
        planned = min(self.selection.num_images or num_images, num_images)
        return tuning_of(runner).seconds * planned / probed


def start_in_words(plan: Plan) -> str:
    """The blocks that train_from='auto' chose from, and why it took which; '' for another start."""
    table = table_of(plan)
    if not table:
        return ''
    rows = [HEADER[: len(table[0])], *table]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        '  '.join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    return '\n'.join(
        ("Where training could start (train_from='auto'):", *lines, plan.provenance[WHY])
    )


def _validation_seconds(runner: Runner) -> float:
    """The seconds of all validations, by those of one batch."""
    loop: Any = runner.val_loop
    if loop is None or runner.val_interval < 1:
        return 0.0
    batch = next(iter(loop.dataloader))
    runner.model.eval()
    with torch.no_grad():
        runner.model.val_step(copy.deepcopy(batch))
        seconds = _timed(lambda: runner.model.val_step(copy.deepcopy(batch)))
    length = runner.max_iters if isinstance(runner.train_loop, IterBasedTrainLoop) else None
    rounds = (length or runner.max_epochs) // runner.val_interval
    return seconds * len(loop.dataloader) * rounds


def _process_peak() -> int:
    """The most bytes of memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024


def _timed(step: Callable[[], object]) -> float:
    start = _now()
    step()
    return _now() - start


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()


def tuning_settings(config: Config) -> ConfigDict:
    """What the config says of its fine-tuning. Raises ValueError where it names no method."""
    tuning = hook_settings(config, 'FineTuneHook')
    if tuning is None:
        raise ValueError(
            'the config names no fine-tuning method; inherit one of configs/_base_/methods, or add '
            "a FineTuneHook to custom_hooks: dict(type='FineTuneHook', method=dict(type='GPS'))"
        )
    return tuning


def dry_run(config: Config) -> Estimate:
    """Build everything, select from a few images, train a few steps; nothing is left on disk."""
    config = copy.deepcopy(config)
    # The checkpoint of a run that would be resumed is as good a base as its own, to be measured.
    config.resume = False
    tuning = tuning_settings(config)
    planned = SelectionPass.of(tuning.get('selection_pass') or {})
    # As many images as make two micro-batches of views, so that the second forward pass is counted.
    size = planned.micro_batch_size or config.train_dataloader.batch_size
    # They are fewer than a batch of the pass, which must not be dropped.
    tuning.selection_pass = {**asdict(planned), 'num_images': size, 'drop_last': False}
    tuning.probe = False
    drop_hooks(config, ('ReportHook', 'DeltaCheckpointHook', 'ResumableCheckpointHook'))
    config.default_hooks = {**(config.get('default_hooks') or {}), 'checkpoint': None}
    config.visualizer = dict(type='Visualizer', vis_backends=[])
    with tempfile.TemporaryDirectory() as folder:
        config.work_dir = folder
        runner = QuietRunner.from_cfg(config)
        needs_data = build_method(tuning.method).needs_data
        runner.register_hook(_MeasureHook(planned if needs_data else None))
        try:
            runner.train()
        except _Measured as measured:
            return measured.estimate
    raise AssertionError('the measuring hook ends the training')


def _images(runner: Runner) -> dict[str, int]:
    loops: dict[str, Any] = {
        'train': runner.train_loop,
        'validation': runner.val_loop,
        'test': runner.test_loop,
    }
    return {name: len(loop.dataloader.dataset) for name, loop in loops.items() if loop is not None}


def _mib(num_bytes: float) -> str:
    return f'{num_bytes / 2**20:,.0f} MiB'
