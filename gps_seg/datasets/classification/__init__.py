"""Data sets of images with one label each; importing this registers them and their transforms."""

from gps_seg.datasets.classification.dataset import ImageClassDataset
from gps_seg.datasets.classification.sample import ImageSample, PackImage
from gps_seg.datasets.classification.specs import IMAGE_CLASSES, ImageClasses
from gps_seg.datasets.classification.transforms import (
    CenterCropTo,
    RandomResizedCrop,
    ResizeShort,
    SquashTo,
)

__all__ = [
    'IMAGE_CLASSES',
    'CenterCropTo',
    'ImageClassDataset',
    'ImageClasses',
    'ImageSample',
    'PackImage',
    'RandomResizedCrop',
    'ResizeShort',
    'SquashTo',
]
