"""One random state per epoch, or per iteration where a training counts those."""

import random

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from gps_seg.runner.loops import unit_of


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds every generator at the first iteration of an epoch from (seed, epoch, rank).

    In a loop of iterations, which may be resumed at any of them: at each, from (seed, iteration,
    rank). What dropout, drop-path and the like draw then depends on nothing that came before: not
    on validation, on worker processes or on whether the run was resumed here.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        by_iteration = unit_of(runner) == 'iter'
        if batch_idx == 0 or by_iteration:
            number = runner.iter if by_iteration else runner.epoch
            sequence = np.random.SeedSequence([runner.seed or 0, number, runner.rank])
            seed = int(sequence.generate_state(1)[0])
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
