"""The objects of a batch: what they are, and what was asked about them so far."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmseg.structures import SegDataSample
from torch import Tensor

Point = tuple[float, float, int]  # x and y in pixels of the input, 1 inside the object, 0 outside


@dataclass(frozen=True)
class ObjectBatch:
    """The objects of a batch of images, N in all, each with its first prompt.

    images: (N,) int64, the image of each. truth: (N, 1, H, W) bool. counted: (N, 1, H, W) bool, the
    pixels that count. boxes: (N, 4), (x0, y0, x1, y1) in pixels of the input. points: of each
    object. by_box: whether the box or the point comes first. generators: what each draws from.
    """

    images: Tensor
    truth: Tensor
    counted: Tensor
    boxes: Tensor
    points: Sequence[Point]
    by_box: Sequence[bool]
    generators: Sequence[np.random.Generator]

    def __len__(self) -> int:
        return len(self.by_box)


def objects_of(counted: Tensor, data_samples: Sequence[SegDataSample]) -> ObjectBatch:
    """The objects that the data samples hold.

    counted: (B, 1, H, W) bool, the pixels of the images that count. Each data sample holds
    `gt_objects`, (M, H, W) masks, `first_prompts` with `boxes` (M, 4), `points` (M, 2) and `by_box`
    (M,), and `prompt_draw` in its metainfo: entropy of the generators, numbers from 0 on.

    Raises ValueError where one does not.
    """
    wanted = ('gt_objects', 'first_prompts', 'prompt_draw')
    for sample in data_samples:
        missing = [name for name in wanted if name not in sample]
        if missing:
            raise ValueError(
                f"prompt='mixed' needs {missing[0]} of every data sample; end the training "
                'pipeline with LoadObjects (after LoadMask), ObjectPrompts and PackObjects'
            )
    counts = [len(sample.gt_objects.data) for sample in data_samples]
    images = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    device = counted.device
    prompts = [sample.first_prompts for sample in data_samples]
    truth = torch.cat([sample.gt_objects.data for sample in data_samples]).to(device).bool()
    if truth.shape[1:] != counted.shape[2:]:
        raise ValueError(
            f'the objects are {tuple(truth.shape[1:])} pixels large, the images '
            f'{tuple(counted.shape[2:])}; let SAMDataPreProcessor pad both'
        )
    points = torch.cat([prompt.points for prompt in prompts]).tolist()
    return ObjectBatch(
        images=images.to(device),
        truth=truth[:, None],
        counted=counted[images.to(device)],
        boxes=torch.cat([prompt.boxes for prompt in prompts]).to(device, torch.float32),
        points=[(x, y, 1) for x, y in points],
        by_box=torch.cat([prompt.by_box for prompt in prompts]).tolist(),
        generators=[
            np.random.default_rng([*sample.prompt_draw, number])
            for sample, count in zip(data_samples, counts, strict=True)
            for number in range(count)
        ],
    )


def point_in(region: Tensor, generator: np.random.Generator) -> tuple[int, int]:
    """A pixel (x, y) of a region, (H, W) bool and not empty, each equally likely."""
    places = region.flatten().nonzero()
    place = int(places[int(generator.integers(len(places)))])
    return place % region.shape[1], place // region.shape[1]


def point_of_error(
    predicted: Tensor, truth: Tensor, counted: Tensor, generator: np.random.Generator
) -> Point:
    """A pixel at which a prediction errs: inside the object where it was missed, else outside.

    predicted, truth, counted: (H, W) bool. Without an error, a pixel of the object, which has one
    that counts.
    """
    region = (predicted != truth) & counted
    if not region.any():
        region = truth & counted
    x, y = point_in(region, generator)
    return float(x), float(y), int(truth[y, x])
