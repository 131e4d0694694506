"""Stops a training whose loss or gradient is not finite."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from gps_seg.hooks.delta_checkpoint_hook import tuning_of
from gps_seg.runner.checkpoints import LAST

ADVICE = (
    'Lower optim_wrapper.optimizer.lr, compute in bf16 or fp32 if this was fp16, and look at these '
    'images and masks'
)


@HOOKS.register_module()
class FiniteHook(Hook):
    """Stops where a loss or a gradient is not finite, naming the images, before anything is stored.

    max_skipped: how many updates in a row fp16's loss scaling may skip. Some skips are how it finds
    its scale: they leave the weights as they are and stop nothing.

    Costs one pass over the gradients of what is trained. Nothing new is waited for on a GPU: when
    the numbers are read, MMEngine's log has just read the losses of the same iteration.
    """

    # After MMEngine's log, before EMA's average and every checkpoint.
    priority = 'HIGH'

    def __init__(self, max_skipped: int = 20) -> None:
        if max_skipped < 1:
            raise ValueError(f'max_skipped must be at least 1, got {max_skipped}')
        self.max_skipped = max_skipped
        self._num_skipped = 0
        self._images: list[str] = []
        self._largest: Tensor | None = None
        self._overflowed: Tensor | None = None

    def before_train(self, runner: Runner) -> None:
        self._handle = runner.optim_wrapper.optimizer.register_step_pre_hook(self._before_step)

    def after_train(self, runner: Runner) -> None:
        self._handle.remove()

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # A fused optimizer gets gradients that are still scaled, and skips the step by itself.
        self._overflowed = getattr(optimizer, 'found_inf', None)
        held = [parameter.grad for group in optimizer.param_groups for parameter in group['params']]
        # The norm that cannot overflow by itself; nan goes through it.
        self._largest = get_total_norm(
            [gradient for gradient in held if gradient is not None and gradient.numel()], math.inf
        )

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        outputs = outputs or {}
        losses = {n: torch.as_tensor(v).item() for n, v in outputs.items() if 'loss' in n}
        images = image_names(data_batch)
        if not all(map(math.isfinite, losses.values())):
            raise stopped(runner, images, _losses_in_words(losses))
        self._images += images
        if runner.optim_wrapper.should_update():
            self._after_update(runner)
            self._images = []

    def _after_update(self, runner: Runner) -> None:
        largest, overflowed = self._largest, self._overflowed
        self._largest = self._overflowed = None
        if largest is None or (overflowed is not None and bool(overflowed)):
            self._num_skipped += 1
            if self._num_skipped == self.max_skipped:
                scale = runner.optim_wrapper.loss_scaler.get_scale()
                reason = (
                    f'{self._num_skipped} updates in a row were skipped, since the gradients are '
                    f'not finite (the loss scale is now {scale:g})'
                )
                raise stopped(runner, self._images, reason)
            return
        self._num_skipped = 0
        if not bool(torch.isfinite(largest)):
            raise stopped(runner, self._images, _gradients_in_words(runner))


def image_names(data_batch: Any) -> list[str]:
    """The files of a batch, where its data samples know them (`img_path`)."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    paths = [getattr(sample, 'img_path', None) for sample in samples or ()]
    return [str(path) for path in paths if path is not None]


def stopped(runner: Runner, images: Sequence[str], reason: str) -> FloatingPointError:
    """The error that ends a training: what happened, on which images, what to do, what is kept."""
    rank = f' of rank {runner.rank}' if runner.world_size > 1 else ''
    on = f' on {", ".join(images)}' if images else ''
    last = Path(runner.work_dir) / LAST
    kept = (
        f'{last} still holds the epoch before; after the change go on from it with --resume'
        if last.is_file()
        else 'no epoch was finished, so start again after the change'
    )
    where = f'iteration {runner.iter + 1} (epoch {runner.epoch + 1}){rank}'
    return FloatingPointError(f'{where}: {reason}{on}. {ADVICE}; {kept}')


def _losses_in_words(losses: dict[str, float]) -> str:
    terms = {name: value for name, value in losses.items() if name != 'loss'} or losses
    return 'the loss is not finite (' + ', '.join(f'{n} = {v:.4g}' for n, v in terms.items()) + ')'


def _gradients_in_words(runner: Runner, *, limit: int = 4) -> str:
    """Says which gradients were not finite: those whose step left values that are not."""
    broken = [
        name
        for name, parameter in tuning_of(runner).named_parameters().items()
        if not bool(torch.isfinite(parameter).all())
    ]
    if not broken:
        return 'the gradient is not finite'
    more = f' and {len(broken) - limit} more' if len(broken) > limit else ''
    others = ' (or on another rank)' if runner.world_size > 1 else ''
    return f'the gradient of {", ".join(broken[:limit])}{more} is not finite{others}'
