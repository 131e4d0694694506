"""The one way from images to a plan, for every runner."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

import gps_seg
from gps_seg.methods import (
    Method,
    ModelParts,
    Plan,
    SelectingMethod,
    TrainingData,
    method_name,
)
from gps_seg.selection import UntilStable
from gps_seg.selection.scoring import Reduce
from gps_seg.tuning.auto_start import check_recompute_of, plan_with_start, starts_by_itself
from gps_seg.tuning.recomputing import blocks_recomputed
from gps_seg.tuning.selection_pass import ImageBatches, PassProgress, SelectionPass
from gps_seg.tuning.trial_step import Trial

# Decides what is trained: `Method.plan`, or what wraps it.
Decide = Callable[[nn.Module, ModelParts, TrainingData | None], Plan]


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
    trial: Trial | None = None,
    recompute: bool | int | str = False,
) -> Plan:
    """What a method decides to train, with the provenance of that decision.

    batches: the training images; not read by a method that needs no data, and then may be None.
    base: fingerprint of the model's pretrained tensors.
    seed: of the order and the views of the images.
    settings: how the pass goes, for the provenance and the early stop.
    progress: reports on the pass; closed at its end.
    reduce: sums tensors over ranks, in place; None for one process.
    trial: a training batch to count steps on; needed where train_from is 'auto'.
    recompute: as in `tune`; the pass then holds the activations of one block at a time.

    The provenance says all that the plan depends on, with the number of images that were really
    used (0 for a method without data). Raises ValueError where images are needed but not given.
    """
    check_recompute_of(method, recompute)
    decide = _decision(method, trial, reduce, recompute)
    if method.needs_data:
        if batches is None:
            raise ValueError(
                f'{_name(method)} looks at training images: give a loader of (images, labels)'
            )
        plan = _from_images(model, method, parts, batches, settings, progress, reduce, decide)
    else:
        plan = decide(model, parts, None).described(num_images=0)
    seeds = {} if 'seed' in plan.provenance else {'seed': seed}
    made_by = method_name(method)
    return plan.described(**seeds, method=made_by, base=base, version=gps_seg.__version__)


def _decision(
    method: Method, trial: Trial | None, reduce: Reduce | None, recompute: bool | int | str
) -> Decide:
    if not starts_by_itself(method):
        return partial(_with_blocks_recomputed, method) if recompute else method.plan
    if trial is None:
        raise ValueError(
            "train_from='auto' counts training steps on a batch of training images: give a loader "
            'of (images, labels), and the loss where the model is of no class that is known'
        )

    def decide(model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Plan:
        return plan_with_start(
            model, method, parts, data, trial=trial, reduce=reduce, recompute=recompute
        )

    return decide


def _with_blocks_recomputed(
    method: Method, model: nn.Module, parts: ModelParts, data: TrainingData | None
) -> Plan:
    with blocks_recomputed(model, parts.blocks):
        return method.plan(model, parts, data)


def _from_images(
    model: nn.Module,
    method: Method,
    parts: ModelParts,
    batches: ImageBatches,
    settings: SelectionPass,
    progress: PassProgress | None,
    reduce: Reduce | None,
    decide: Decide,
) -> Plan:
    stop = _until_stable(method, settings, progress)
    try:
        plan = decide(model, parts, TrainingData(batches, progress, reduce, stop))
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
