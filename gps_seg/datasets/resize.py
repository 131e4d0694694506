"""Images and masks at the size of the model's input."""

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


def squash(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an image, (H, W, C) uint8, to (height, width, C) without keeping its proportions.

    A side that shrinks is averaged over the pixels that fall together (bilinear sampling would skip
    most of them and alias), a side that grows is interpolated bilinearly.
    """
    shrunk = (min(width, image.shape[1]), min(height, image.shape[0]))
    averaged = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    return cv2.resize(averaged, (width, height), interpolation=cv2.INTER_LINEAR)


@TRANSFORMS.register_module()
class SquashResize(BaseTransform):
    """Resize the image, and the masks that are loaded by then, to image_size x image_size.

    Masks take the nearest pixel. In a test pipeline the mask is loaded after this transform and
    stays at the original size, where the metrics are taken. Without `image_size` the data set's own
    `image_size` is used, so that a config states it once.
    """

    def __init__(self, image_size: int | None = None) -> None:
        self.image_size = image_size

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize one sample."""
        size = self.image_size or results.get('image_size')
        if not size:
            raise ValueError('SquashResize needs an image_size, its own or that of the data set')
        height, width = results['img'].shape[:2]
        results['img'] = squash(results['img'], size, size)
        for name in results.get('seg_fields', []):
            # INTER_NEAREST of OpenCV is half a pixel off the image's grid; this one is not.
            results[name] = cv2.resize(
                results[name], (size, size), interpolation=cv2.INTER_NEAREST_EXACT
            )
        results['img_shape'] = (size, size)
        results['scale_factor'] = (size / width, size / height)
        return results
