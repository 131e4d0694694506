"""The black border of endoscopic images as a class of its own, by a fixed rule."""

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import DATASETS, TRANSFORMS

from gps_seg.datasets.mask_folder import MaskFolderDataset
from gps_seg.datasets.reading import LoadImage

BORDER = 'border'
BORDER_COLOUR = (86, 180, 233)


def black_border(image: np.ndarray, *, darkest: int = 24, min_share: float = 0.001) -> np.ndarray:
    """Where an image is near black, in one piece with an edge of the image: (H, W) bool.

    image: (H, W, 3) uint8, channels in any order. darkest: a pixel is near black where its largest
    channel is at most this. min_share: smaller regions, as a share of the image, do not count.
    Pixels are neighbours along sides and corners. A dark lumen in the middle is no border.
    """
    dark = (image.max(axis=2) <= darkest).astype(np.uint8)
    num, regions, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    rim = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    at_edge = np.zeros(num, bool)
    at_edge[rim] = True
    at_edge[0] = False  # what is not dark
    return (at_edge & (stats[:, cv2.CC_STAT_AREA] >= min_share * dark.size))[regions]


@TRANSFORMS.register_module()
class AddBorderClass(BaseTransform):
    """Give the pixels of class 0 in the black border (see `black_border`) a class of their own.

    It comes after LoadMask. The rule looks at the image at the mask's size: at `img`, or, where
    that has been resized already, at the file again. label: the border's class.

    Raises ValueError where the mask holds that class already.
    """

    def __init__(self, label: int = 2, darkest: int = 24, min_share: float = 0.001) -> None:
        self.label = label
        self.darkest = darkest
        self.min_share = min_share

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the border to the mask of one sample."""
        mask = results['gt_seg_map']
        if (mask == self.label).any():
            raise ValueError(
                f'{results["seg_map_path"]} holds class {self.label} already; give the border '
                'another label'
            )
        image = results.get('img')
        if image is None or image.shape[:2] != mask.shape:
            of_file: dict[str, Any] = {k: results[k] for k in ('img_path', 'page') if k in results}
            image = LoadImage().transform(of_file)['img']
        border = black_border(image, darkest=self.darkest, min_share=self.min_share)
        results['gt_seg_map'] = np.where(border & (mask == 0), np.uint8(self.label), mask)
        return results


@DATASETS.register_module()
class BorderedMaskFolder(MaskFolderDataset):
    """A MaskFolderDataset with one class more, the border that AddBorderClass finds."""

    @property
    def metainfo(self) -> dict[str, Any]:
        """The classes and colours of the folder, and those of the border."""
        meta = super().metainfo
        colours = [*meta['palette'], BORDER_COLOUR]
        return {**meta, 'classes': (*meta['classes'], BORDER), 'palette': colours}
