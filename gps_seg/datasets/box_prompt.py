"""Boxes around the ground truth, as prompts."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from gps_seg.datasets.draws import next_generator
from gps_seg.datasets.label_maps import IGNORED


def foreground_box(mask: np.ndarray) -> np.ndarray:
    """The first and last foreground pixel of a mask, (H, W), as float64 (x0, y0, x1, y1).

    Every class but 0 is foreground, ignored pixels are not. An empty mask gives the box of the
    whole image.
    """
    shown = (mask != 0) & (mask != IGNORED)
    columns, rows = np.flatnonzero(shown.any(axis=0)), np.flatnonzero(shown.any(axis=1))
    if not len(columns):
        columns, rows = np.arange(mask.shape[1]), np.arange(mask.shape[0])
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], dtype=np.float64)


@TRANSFORMS.register_module()
class BoxPrompt(BaseTransform):
    """Set `box_prompt` to the box of the foreground, (x0, y0, x1, y1) in pixels of the input.

    Coordinates are pixel indices, as SAM's prompt encoder takes them (it adds the half pixel
    itself); the mask may be of the input's or of the original size. With `jitter` each edge moves
    by up to that share of the box's side, uniformly, from the draw of the sample: for training;
    0 is for testing. The box stays inside the image and keeps its corners in order.
    """

    def __init__(self, jitter: float = 0.1) -> None:
        if not 0 <= jitter < 0.5:
            raise ValueError(f'jitter is a share of the box in [0, 0.5), not {jitter}')
        self.jitter = jitter

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Set the box of one sample."""
        mask = results['gt_seg_map']
        height, width = results['img'].shape[:2]
        scale = np.array([width / mask.shape[1], height / mask.shape[0]] * 2)
        # Pixel centres are mapped, so that an unscaled box keeps its indices.
        box = (foreground_box(mask) + 0.5) * scale - 0.5
        if self.jitter:
            sides = np.tile(box[2:] - box[:2] + 1, 2)
            box += sides * next_generator(results).uniform(-self.jitter, self.jitter, 4)
        limits = np.array([width - 1, height - 1] * 2)
        box = box.clip(0, limits)
        corners = box.reshape(2, 2)
        results['box_prompt'] = tuple(map(float, [*corners.min(axis=0), *corners.max(axis=0)]))
        return results
