"""The report on prompts: stock tools of segment_anything on the weights of a run, on its split."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import Sam

from gps_seg.datasets import LoadImage, LoadMask, LoadObjects
from gps_seg.datasets.label_maps import IGNORED
from gps_seg.evaluation.prompted import KINDS, Scene, automatic_scores, prompt_scores
from gps_seg.models import SAMSegmentor
from gps_seg.models.stock_sam import stock_sam


@dataclass(frozen=True)
class PromptReport:
    """Which prompts are scored, and on how much.

    kinds: of KINDS. num_images: the first of the split; None for all. automatic_images: of these,
    how many the automatic generator runs on, which is slow; 0 for none. points_per_side: its grid.
    pred_iou_thresh, stability_score_thresh: what a mask must reach to be kept, in [0, 1]. Their
    defaults are those of segment_anything, which suit SAM's own weights: a small model, or one
    whose best masks are worse, may need lower ones.
    """

    kinds: Sequence[str] = KINDS
    num_images: int | None = None
    automatic_images: int | None = None
    points_per_side: int = 32
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise ValueError(f'no prompt {unknown[0]!r}; there are {", ".join(KINDS)}')
        if self.points_per_side < 1:
            raise ValueError(f'points_per_side must be at least 1, got {self.points_per_side}')
        for name in ('pred_iou_thresh', 'stability_score_thresh'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name} must lie in [0, 1], got {getattr(self, name)}')

    def generator(self, sam: Sam) -> SamAutomaticMaskGenerator:
        """The stock generator of automatic masks, with these settings."""
        return SamAutomaticMaskGenerator(
            sam,
            points_per_side=self.points_per_side,
            pred_iou_thresh=self.pred_iou_thresh,
            stability_score_thresh=self.stability_score_thresh,
        )


def stock_model(model: Any) -> Sam:
    """A stock `Sam` with the weights that a model has now, on its device.

    Raises ValueError where it is no SAM with SAM's own tensors alone.
    """
    inner = model.module if is_model_wrapper(model) else model
    if not isinstance(inner, SAMSegmentor) or inner.class_masks is not None:
        raise ValueError(
            'a report on prompts needs a SAMSegmentor of two classes; set '
            'default_hooks.report.prompts=None'
        )
    preprocessor = inner.data_preprocessor
    mean, std = preprocessor.mean.flatten().tolist(), preprocessor.std.flatten().tolist()
    try:
        sam = stock_sam(
            inner.arch, inner.state_dict(), image_size=inner.image_size, mean=mean, std=std
        )
    except RuntimeError as error:
        raise ValueError(
            'the model holds modules that segment_anything does not know (of a method that adds '
            'some), so that its tools cannot be scored; set default_hooks.report.prompts=None '
            f'({error})'
        ) from error
    return sam.to(inner.image_encoder.patch_embed.proj.weight.device)


def scenes_of(dataset: Any, num_images: int | None = None) -> Iterator[Scene]:
    """The images of a data set at their own size, with their objects.

    dataset: of MMSegmentation, with LoadImage, LoadMask and LoadObjects in its pipeline; its other
    steps are left out. num_images: the first ones; None for all.

    Raises ValueError where one of the three is missing.
    """
    steps = [
        step
        for step in dataset.pipeline.transforms
        if isinstance(step, LoadImage | LoadMask | LoadObjects)
    ]
    missing = {LoadImage, LoadMask, LoadObjects} - {type(step) for step in steps}
    if missing:
        names = ', '.join(sorted(step.__name__ for step in missing))
        raise ValueError(
            f'a report on prompts needs {names} in the pipeline of the test split; add it, or set '
            'default_hooks.report.prompts=None'
        )
    labels = getattr(dataset, 'labels', None)
    for index in islice(range(len(dataset)), num_images):
        results: dict[str, Any] = {**dataset.get_data_info(index), 'labels': labels}
        for step in steps:
            results = step(results)
        mask = results['gt_seg_map']
        yield Scene(
            image=np.ascontiguousarray(results['img'][..., ::-1]),
            foreground=(mask != 0) & (mask != IGNORED),
            objects=results['gt_object_map'],
            counted=mask != IGNORED,
        )


def check_prompts(model: Any, dataset: Any) -> None:
    """Raise ValueError where a report on prompts could not be made after the training."""
    stock_model(model)
    next(scenes_of(dataset, 1), None)


def report_on_prompts(model: Any, dataset: Any, settings: PromptReport) -> dict[str, float]:
    """The scores by `prompt_scores` and `automatic_scores` of a model on a data set.

    Model and random states stay as they are: the stock model is a copy.
    """
    sam = stock_model(model)
    logger = MMLogger.get_current_instance()
    with torch.no_grad():
        scores = prompt_scores(
            SamPredictor(sam), scenes_of(dataset, settings.num_images), settings.kinds
        )
        if settings.automatic_images != 0:
            bounds = (settings.num_images, settings.automatic_images, len(dataset))
            num_images = min(bound for bound in bounds if bound is not None)
            logger.info(f'Automatic masks of {num_images} images')
            scores |= automatic_scores(settings.generator(sam), scenes_of(dataset, num_images))
    return scores


def prompt_report(settings: Mapping[str, Any] | None) -> PromptReport | None:
    """The settings of a config; None for no report. Raises ValueError for a wrong one."""
    if settings is None:
        return None
    try:
        return PromptReport(**settings)
    except TypeError as error:
        raise ValueError(f'default_hooks.report.prompts does not take this: {error}') from error
