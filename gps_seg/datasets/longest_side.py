"""Images at the size of the model's input with their proportions kept, as SAM is used."""

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from PIL import Image


def longest_side_shape(height: int, width: int, image_size: int) -> tuple[int, int]:
    """The (height, width) of an image whose longer side becomes `image_size`.

    >>> longest_side_shape(480, 640, 1024)
    (768, 1024)
    """
    scale = image_size / max(height, width)
    # At least a pixel: segment_anything would make a line of zero pixels of a very long image.
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


@TRANSFORMS.register_module()
class LongestSideResize(BaseTransform):
    """Resize the image, and the masks that are loaded by then, so that its longer side fits.

    As `ResizeLongestSide` of segment_anything: bilinear with antialiasing by Pillow; what is left
    of the square is padded by SAMDataPreProcessor. Masks take the nearest pixel; in a test pipeline
    they are loaded after this transform and stay at the original size. image_size: the longer side;
    default: the data set's own.
    """

    def __init__(self, image_size: int | None = None) -> None:
        self.image_size = image_size

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize one sample."""
        longest = self.image_size or results.get('image_size')
        if not longest:
            raise ValueError('LongestSideResize needs an image_size, its own or of the data set')
        old_height, old_width = results['img'].shape[:2]
        height, width = longest_side_shape(old_height, old_width, longest)
        image = Image.fromarray(results['img']).resize((width, height), Image.Resampling.BILINEAR)
        results['img'] = np.array(image)
        for name in results.get('seg_fields', []):
            # INTER_NEAREST of OpenCV is half a pixel off the image's grid; this one is not.
            results[name] = cv2.resize(
                results[name], (width, height), interpolation=cv2.INTER_NEAREST_EXACT
            )
        results['img_shape'] = (height, width)
        results['scale_factor'] = (width / old_width, height / old_height)
        return results
