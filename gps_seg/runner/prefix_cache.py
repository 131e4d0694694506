"""Trainings of MMEngine's runner on the stored outputs of a frozen prefix."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor
from torch.utils.data import DataLoader

from gps_seg.datasets.sampler import EpochSampler
from gps_seg.datasets.seeded import DrawSampler
from gps_seg.datasets.stored_views import StoredViews
from gps_seg.tuning import Tuning
from gps_seg.tuning.prefix_cache import CacheSettings, PrefixCache, keep_prefix

# In a checkpoint's `meta`.
KEY = 'prefix_cache'


def keep_to_stored_views(runner: Runner, settings: CacheSettings) -> None:
    """Let the training draw from the stored views of each image alone, in place.

    Raises ValueError, naming the next step, where the loader or the runner rule that out.
    """
    loader: Any = runner.train_dataloader
    if runner.cfg.get('compile'):
        raise ValueError(
            'cache_prefix replaces parts of the forward pass, which a compiled model does not see; '
            'leave out compile, or cache_prefix'
        )
    if getattr(getattr(runner.model, 'data_preprocessor', None), 'batch_augments', None):
        raise ValueError(
            'cache_prefix stores the features of single images, and mixup mixes them anew in every '
            'batch; leave out model.mixup (data_preprocessor.batch_augments), or cache_prefix'
        )
    sampler = getattr(loader.batch_sampler, 'sampler', None)
    if not isinstance(sampler, EpochSampler | DrawSampler):
        raise ValueError(
            f'the samples of {type(loader.batch_sampler).__name__} cannot be given draws of their '
            'own, so their views cannot be stored; use EpochSampler with a plain batch sampler, or '
            'leave cache_prefix out'
        )
    # torch refuses to set this on a finished loader, though no worker has started yet.
    object.__setattr__(loader, 'dataset', StoredViews(loader.dataset, settings.views))
    loop: Any = runner.train_loop
    if isinstance(loop, IterBasedTrainLoop):
        # Some versions of MMEngine have begun to load already, with other views.
        loop.dataloader_iterator = type(loop.dataloader_iterator)(loader)
    runner.logger.info(
        f'cache_prefix: every image is trained in {settings.views} stored views alone; each is one '
        'draw of the random transforms of the pipeline, made once'
    )


def start_prefix_cache(runner: Runner, tuning: Tuning, settings: CacheSettings) -> PrefixCache:
    """Store the features of every stored view, and train on them; ranks share the work."""
    loader: Any = runner.train_dataloader
    views: StoredViews = loader.dataset
    model: Any = tuning.model
    draws = views.draws()
    size = loader.batch_size or 1

    def batches() -> Iterator[Tensor]:
        stored = DataLoader(
            views.dataset,
            batch_sampler=[draws[begin : begin + size] for begin in range(0, len(draws), size)],
            collate_fn=loader.collate_fn,
            num_workers=loader.num_workers,
        )
        for batch in stored:
            yield model.data_preprocessor(batch, True)['inputs']

    with runner.optim_wrapper.optim_context(runner.model):
        return keep_prefix(
            tuning, batches, num_images=len(draws), settings=settings, logger=runner.logger
        )


def told_of_cache(settings: CacheSettings | None) -> dict[str, Any]:
    """What a checkpoint's `meta` says of the cache, for `check_same_cache`."""
    told = None if settings is None else {'views': settings.views, 'dtype': settings.dtype}
    return {KEY: told}


def check_same_cache(checkpoint: Mapping[str, Any], settings: CacheSettings | None) -> None:
    """Raise ValueError where a resume would train on other views or features than before."""
    meta = checkpoint.get('meta', {})
    now = told_of_cache(settings)[KEY]
    if KEY in meta and meta[KEY] != now:
        raise ValueError(
            f'the run to resume had cache_prefix={meta[KEY] or False}, now it has '
            f'{now or False}; the rest of the training would see other images. Resume with the '
            'first setting, or start anew in another work dir'
        )
