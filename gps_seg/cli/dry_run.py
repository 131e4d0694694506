"""What a training would cost, from one probe step."""

import copy
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.cli.quiet_runner import QuietRunner
from gps_seg.hooks.delta_checkpoint_hook import fine_tune_hook, tuning_of
from gps_seg.methods import build_method
from gps_seg.runner.config_hooks import drop_hooks, hook_settings
from gps_seg.runner.history import time_in_words
from gps_seg.sparse import TrainableSummary
from gps_seg.tuning import SelectionPass


@dataclass(frozen=True)
class Estimate:
    """What was counted (images, parameters) and what one step suggests (bytes, seconds).

    saved_bytes: kept for backward at the training batch size. selection_seconds: of the whole
    selection pass, 0 for a method without one. step_seconds: of one iteration.
    """

    summary: TrainableSummary
    images: dict[str, int]
    parameter_bytes: int
    state_bytes: int
    saved_bytes: int
    selection_seconds: float
    step_seconds: float
    num_steps: int

    def __str__(self) -> str:
        memory = self.parameter_bytes + self.state_bytes + self.saved_bytes
        data = ', '.join(f'{split} {num}' for split, num in self.images.items())
        return '\n'.join(
            (
                f'Data found: {data} images',
                str(self.summary),
                f'Memory of training, estimated: {_mib(memory)} (parameters '
                f'{_mib(self.parameter_bytes)}, gradients and optimizer {_mib(self.state_bytes)}, '
                f'kept for backward {_mib(self.saved_bytes)})',
                f'Selection: about {time_in_words(self.selection_seconds)}',
                f'Training: about {time_in_words(self.step_seconds * self.num_steps)} '
                f'({self.num_steps} steps of {self.step_seconds:.2f} s, validation not counted)',
            )
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
        self.saved: dict[int, int] = {}

    def before_train(self, runner: Runner) -> None:
        self.batch = next(iter(runner.train_dataloader))
        self._step(runner)  # the first step of a process allocates and compiles
        start = _now()
        self._step(runner)
        seconds = _now() - start
        raise _Measured(self._estimate(runner, seconds))

    def _step(self, runner: Runner) -> None:
        self.saved = {}
        own = {parameter.data_ptr() for parameter in runner.model.parameters()}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.data_ptr() not in own:
                self.saved[tensor.data_ptr()] = tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            runner.model.train()
            # Padding writes into the data samples.
            batch = copy.deepcopy(self.batch)
            runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)

    def _estimate(self, runner: Runner, seconds: float) -> Estimate:
        tuning = tuning_of(runner)
        model = tuning.model
        optimizer = runner.optim_wrapper.optimizer
        states = [tensor for state in optimizer.state.values() for tensor in state.values()]
        trained = tuning.parameters()
        return Estimate(
            tuning.summary(),
            _images(runner),
            sum(parameter.nbytes for parameter in model.parameters()),
            sum(t.nbytes for t in states if torch.is_tensor(t)) + sum(p.nbytes for p in trained),
            sum(self.saved.values()),
            self._selection_seconds(runner),
            seconds,
            runner.max_iters,
        )

    def _selection_seconds(self, runner: Runner) -> float:
        if self.selection is None:
            return 0.0
        num_images = len(runner.train_dataloader.dataset)
        hook = fine_tune_hook(runner)
        probed = min(hook.selection_pass.num_images or num_images, num_images)
        planned = min(self.selection.num_images or num_images, num_images)
        return tuning_of(runner).seconds * planned / probed


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()


def dry_run(config: Config) -> Estimate:
    """Build everything, select from a few images, train two steps; nothing is left on disk."""
    config = copy.deepcopy(config)
    # The checkpoint of a run that would be resumed is as good a base as its own, to be measured.
    config.resume = False
    tuning = hook_settings(config, 'FineTuneHook')
    if tuning is None:
        raise ValueError(
            'the config names no fine-tuning method; inherit one of configs/_base_/methods, or add '
            "a FineTuneHook to custom_hooks: dict(type='FineTuneHook', method=dict(type='GPS'))"
        )
    planned = SelectionPass.of(tuning.get('selection_pass') or {})
    # As many images as make two micro-batches of views, so that the second forward pass is counted.
    size = planned.micro_batch_size or config.train_dataloader.batch_size
    tuning.selection_pass = {**asdict(planned), 'num_images': size}
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


def _mib(num_bytes: int) -> str:
    return f'{num_bytes / 2**20:,.0f} MiB'
