"""A training batch of a runner, to count steps on before training."""

import copy
from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from gps_seg.datasets.seeded import SeededDataset
from gps_seg.runner.contrastive_batches import PROBE_EPOCH
from gps_seg.tuning import Trial


def trial_of_runner(runner: Runner, model: Any, *, engine: str) -> Trial:
    """One batch as the runner trains on it: size, augmentation, padding and precision.

    model: without its wrappers. Activation checkpointing of the config comes later and is not in
    it, so that the counted memory is then too much rather than too little.
    """
    batch = _batch(runner)

    def loss() -> Tensor:
        # Padding writes into the data samples.
        data = model.data_preprocessor(copy.deepcopy(batch), True)
        with _optim_wrapper(runner).optim_context(model):
            losses = model(**data, mode='loss')
        return model.parse_losses(losses)[0]

    return Trial(loss, engine)


def _batch(runner: Runner) -> Any:
    """A full training batch, of draws of its own: no training epoch uses them."""
    loader: Any = runner.train_dataloader
    seed, num = runner.seed or 0, len(loader.dataset)
    dataset = SeededDataset(loader.dataset, seed)
    size = loader.batch_size or 1
    return loader.collate_fn([dataset[seed, PROBE_EPOCH, place % num] for place in range(size)])


def _optim_wrapper(runner: Runner) -> Any:
    """The runner's, which without training is still a config."""
    if not isinstance(runner.optim_wrapper, OptimWrapper):
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    return runner.optim_wrapper
