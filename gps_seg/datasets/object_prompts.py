"""The objects of a training sample, each with the first prompt that asks for it."""

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData, PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from gps_seg.datasets.box_prompt import foreground_box
from gps_seg.datasets.draws import next_generator
from gps_seg.datasets.label_maps import IGNORED

# Of a box's edge, at most, in shares of the image's longer side: 20 of SAM's 1024 pixels.
MAX_SHIFT = 20 / 1024


def jittered_box(
    box: np.ndarray, height: int, width: int, jitter: float, generator: np.random.Generator
) -> np.ndarray:
    """A box (x0, y0, x1, y1) whose edges moved, inside the image and with its corners in order.

    Each edge moves by a normal draw with a deviation of `jitter` of the box's side, at most by
    MAX_SHIFT of the image, as in SAM's training (arXiv:2304.02643, appendix A).
    """
    sides = np.tile(box[2:] - box[:2] + 1, 2)
    limit = MAX_SHIFT * max(height, width)
    moved = box + (generator.normal(size=4) * jitter * sides).clip(-limit, limit)
    corners = moved.clip(0, [width - 1, height - 1] * 2).reshape(2, 2)
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


@TRANSFORMS.register_module()
class ObjectPrompts(BaseTransform):
    """Choose objects of `gt_object_map`, and draw a box and a point for each.

    max_objects: of more, as many are drawn; bounds the memory. box_share: of the objects, those
    that are asked for by their box first; the others by their point. jitter: of the boxes, see
    `jittered_box`. min_area: smaller objects, in pixels of the input, are left out: a mask of SAM
    has pixels of 4 x 4.

    Pixels that do not count (`gt_seg_map` is 255) are no part of an object and no place for a
    point. Sets `gt_objects`, (N, H, W) uint8, and `first_prompts`: boxes (N, 4) and points (N, 2)
    in pixels of the input, (x, y), and by_box (N,). N may be 0. Sets `prompt_draw` too, from which
    the model draws points later. All draws depend on the sample's (seed, epoch, index) alone.

    Raises ValueError without a `gt_object_map`.
    """

    def __init__(
        self,
        max_objects: int = 8,
        box_share: float = 0.5,
        jitter: float = 0.1,
        min_area: int = 16,
    ) -> None:
        if max_objects < 1 or min_area < 1:
            raise ValueError(
                f'max_objects and min_area are at least 1, got {max_objects} and {min_area}'
            )
        if not 0 <= box_share <= 1 or not 0 <= jitter < 0.5:
            raise ValueError(
                f'box_share is in [0, 1] and jitter in [0, 0.5), got {box_share} and {jitter}'
            )
        self.max_objects, self.box_share = max_objects, box_share
        self.jitter, self.min_area = jitter, min_area

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Choose and draw for one sample."""
        if 'gt_object_map' not in results:
            raise ValueError('ObjectPrompts needs gt_object_map; add LoadObjects after LoadMask')
        generator = next_generator(results)
        counted = results['gt_seg_map'] != IGNORED
        areas = np.bincount(results['gt_object_map'][counted].ravel())
        numbers = np.flatnonzero(areas >= self.min_area)
        numbers = numbers[numbers > 0]
        if len(numbers) > self.max_objects:
            numbers = np.sort(generator.choice(numbers, self.max_objects, replace=False))
        masks = (results['gt_object_map'] == numbers[:, None, None]) & counted
        height, width = counted.shape
        boxes, points = np.empty((len(numbers), 4)), np.empty((len(numbers), 2))
        for place, mask in enumerate(masks):
            box = foreground_box(mask)
            boxes[place] = jittered_box(box, height, width, self.jitter, generator)
            inside = np.flatnonzero(mask)
            points[place] = np.divmod(inside[generator.integers(len(inside))], width)[::-1]
        results['gt_objects'] = masks.astype(np.uint8)
        results['first_prompts'] = dict(
            boxes=boxes, points=points, by_box=generator.random(len(numbers)) < self.box_share
        )
        results['prompt_draw'] = tuple(int(n) for n in generator.integers(2**32, size=4))
        return results


@TRANSFORMS.register_module()
class PackObjects(PackSegInputs):
    """Pack what PackSegInputs packs, and the objects with their first prompts."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack one sample. Raises ValueError where ObjectPrompts is missing before it."""
        if 'first_prompts' not in results:
            raise ValueError('PackObjects packs what ObjectPrompts makes; add it before')
        packed = super().transform(results)
        sample = packed['data_samples']
        sample.gt_objects = PixelData(data=torch.from_numpy(results['gt_objects']))
        prompts = results['first_prompts']
        sample.first_prompts = InstanceData(
            boxes=torch.from_numpy(prompts['boxes']).float(),
            points=torch.from_numpy(prompts['points']).float(),
            by_box=torch.from_numpy(prompts['by_box']),
        )
        sample.set_metainfo(dict(prompt_draw=results['prompt_draw']))
        return packed
