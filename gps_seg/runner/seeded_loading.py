"""Training draws that depend on seed, epoch and image alone, for any data set and sampler."""

from typing import Any

from mmengine.runner import IterBasedTrainLoop, Runner

from gps_seg.datasets.sampler import EpochSampler
from gps_seg.datasets.seeded import DrawSampler, SeededDataset, with_draws


def seed_training_draws(runner: Runner) -> None:
    """Let a stock data loader draw by (seed, epoch, index), in place, before its first batch.

    Any number of workers, and a resumed run, then augment an image of an epoch in the same way. A
    loader whose sampler yields draws is left alone; one without a sampler that can be wrapped is
    named in the log.
    """
    loader: Any = runner.train_dataloader
    if isinstance(loader.sampler, EpochSampler | DrawSampler):
        return
    inner = getattr(loader.batch_sampler, 'sampler', None)
    if inner is None:
        runner.logger.warning(
            f'the samples of {type(loader.batch_sampler).__name__} cannot be given draws of their '
            'own: their augmentation depends on the number of workers, and a resume repeats none'
        )
        return
    seed = runner.seed or 0
    draws = with_draws(inner, seed)
    loader.batch_sampler.sampler = draws
    # torch refuses to set these on a finished loader, though no worker has started yet.
    object.__setattr__(loader, 'sampler', draws)
    object.__setattr__(loader, 'dataset', SeededDataset(loader.dataset, seed))
    loop: Any = runner.train_loop
    if isinstance(loop, IterBasedTrainLoop):
        # Some versions of MMEngine have begun to load already, with the draws of before.
        loop.dataloader_iterator = type(loop.dataloader_iterator)(loader)
