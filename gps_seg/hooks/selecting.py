"""Runs a method's selection over a data set, and says how it came about."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mmengine.logging import MMLogger
from torch import nn
from torch.utils.data import Dataset

import gps_seg
from gps_seg.hooks.progress import PassProgress, pass_progress
from gps_seg.hooks.selection_data import ContrastiveBatches, SelectionPass, selection_data
from gps_seg.methods import Method, SelectingMethod
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
    batches = ContrastiveBatches(dataset, settings, seed=seed)
    progress = pass_progress(len(batches))
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
    about['num_images'] = batches.num_images  # the number that was used, not the one asked for
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
