"""Runs a method's selection over a data set, and says how it came about."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from mmengine.dist import broadcast_object_list, get_dist_info
from mmengine.logging import MMLogger
from torch import nn
from torch.utils.data import Dataset

import gps_seg
from gps_seg.methods import Method, SelectingMethod
from gps_seg.runner.contrastive_batches import ContrastiveBatches, SelectionPass, selection_data
from gps_seg.runner.progress import PassProgress, pass_progress
from gps_seg.runner.ranks import sum_over_ranks
from gps_seg.selection import Selection, UntilStable

# How the images are loaded changes nothing about the selection.
NOT_RECORDED = ('num_workers',)


def select_entries(
    method: Method,
    model: nn.Module,
    dataset: Dataset,
    settings: SelectionPass,
    *,
    seed: int,
    base: str,
) -> Selection:
    """What a method selects from the images of a data set.

    base: fingerprint of the model's pretrained tensors. The provenance says all that the selection
    depends on, with the number of images that were really used (0 for a method without data).
    """
    if method.needs_data:
        selection = _from_images(method, model, dataset, settings, seed)
    else:
        selection = method.select(model, None).described(num_images=0)
    seeds = {} if 'seed' in selection.provenance else {'seed': seed}
    return selection.described(**seeds, base=base, version=gps_seg.__version__)


def _from_images(
    method: Method, model: nn.Module, dataset: Dataset, settings: SelectionPass, seed: int
) -> Selection:
    rank, num_ranks = get_dist_info()
    if num_ranks > 1 and settings.stop_agreement is not None:
        raise ValueError(
            f'selection_pass.stop_agreement needs a single process: each of the {num_ranks} ranks '
            'sees its own images only; make the plan with gps-seg select, then train from it'
        )
    # With MMEngine's `diff_rank_seed` every rank has a seed of its own.
    seeds = [seed]
    broadcast_object_list(seeds)
    batches = ContrastiveBatches(dataset, settings, seed=seeds[0], rank=rank, num_ranks=num_ranks)
    progress = pass_progress(batches.num_on_all_ranks, num_ranks=num_ranks)
    stop = until_stable(method, settings, progress)
    try:
        selection = method.select(model, selection_data(model, batches, progress, stop))
    finally:
        progress.close()
    about = _recorded(settings)
    if stop is not None:
        about['agreement'] = stop.last_agreement
        if batches.num_done < len(batches):
            MMLogger.get_current_instance().info(
                f'The selection is stable: {batches.num_images} images in {batches.num_done} of '
                f'{len(batches)} batches'
            )
    # The number that was used, not the one asked for.
    used = torch.tensor(batches.num_images)
    sum_over_ranks({'num_images': used})
    about['num_images'] = int(used)
    return selection.described(**about)


def until_stable(
    method: Method, settings: SelectionPass, progress: PassProgress
) -> UntilStable | None:
    """What ends the pass early, where the settings ask for it."""
    if settings.stop_agreement is None or not isinstance(method, SelectingMethod):
        return None
    return UntilStable(
        method.choose,
        threshold=settings.stop_agreement,
        every=settings.check_every,
        report=progress.agreement,
    )


def _recorded(settings: SelectionPass) -> dict[str, Any]:
    every: Mapping[str, Any] = asdict(settings)
    unused = ('check_every',) if settings.stop_agreement is None else ()
    return {
        name: value
        for name, value in every.items()
        if value is not None and name not in (*NOT_RECORDED, *unused)
    }
