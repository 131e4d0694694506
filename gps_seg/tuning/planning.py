"""The one way from images to a plan, for every runner."""

from typing import Any

import torch
from torch import nn

import gps_seg
from gps_seg.methods import Method, ModelParts, Plan, SelectingMethod, TrainingData
from gps_seg.selection import UntilStable
from gps_seg.selection.scoring import Reduce
from gps_seg.tuning.selection_pass import ImageBatches, PassProgress, SelectionPass


def make_plan(
    model: nn.Module,
    method: Method,
    parts: ModelParts,
    batches: ImageBatches | None,
    *,
    base: str,
    seed: int,
    settings: SelectionPass,
    progress: PassProgress | None = None,
    reduce: Reduce | None = None,
) -> Plan:
    """What a method decides to train, with the provenance of that decision.

    batches: the training images; not read by a method that needs no data, and then may be None.
    base: fingerprint of the model's pretrained tensors.
    seed: of the order and the views of the images.
    settings: how the pass goes, for the provenance and the early stop.
    progress: reports on the pass; closed at its end.
    reduce: sums tensors over ranks, in place; None for one process.

    The provenance says all that the plan depends on, with the number of images that were really
    used (0 for a method without data). Raises ValueError where images are needed but not given.
    """
    if method.needs_data:
        if batches is None:
            raise ValueError(
                f'{_name(method)} looks at training images: give a loader of (images, labels)'
            )
        plan = _from_images(model, method, parts, batches, settings, progress, reduce)
    else:
        plan = method.plan(model, parts, None).described(num_images=0)
    seeds = {} if 'seed' in plan.provenance else {'seed': seed}
    made_by = type(method).__name__
    return plan.described(**seeds, method=made_by, base=base, version=gps_seg.__version__)


def _from_images(
    model: nn.Module,
    method: Method,
    parts: ModelParts,
    batches: ImageBatches,
    settings: SelectionPass,
    progress: PassProgress | None,
    reduce: Reduce | None,
) -> Plan:
    stop = _until_stable(method, settings, progress)
    try:
        plan = method.plan(model, parts, TrainingData(batches, progress, reduce, stop))
    finally:
        if progress is not None:
            progress.close()
    recorded: dict[str, Any] = settings.recorded()
    if stop is not None:
        recorded['agreement'] = stop.last_agreement
    # The number that was used, not the one asked for.
    used = torch.tensor(batches.num_images)
    if reduce is not None:
        reduce({'num_images': used})
    recorded['num_images'] = int(used)
    return plan.described(**recorded)


def _until_stable(
    method: Method, settings: SelectionPass, progress: PassProgress | None
) -> UntilStable | None:
    """What ends the pass early, where the settings ask for it."""
    if settings.stop_agreement is None or not isinstance(method, SelectingMethod):
        return None
    return UntilStable(
        method.choose,
        threshold=settings.stop_agreement,
        every=settings.check_every,
        report=None if progress is None else progress.agreement,
    )


def _name(method: Method) -> str:
    return f'the criterion {method.criterion}' if hasattr(method, 'criterion') else str(method)
