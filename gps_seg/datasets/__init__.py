"""Data sets of images with masks or labels; importing this registers them and their transforms."""

from gps_seg.datasets.augment import Augment
from gps_seg.datasets.border_class import AddBorderClass, BorderedMaskFolder, black_border
from gps_seg.datasets.box_prompt import BoxPrompt
from gps_seg.datasets.classification import (
    IMAGE_CLASSES,
    CenterCropTo,
    ImageClassDataset,
    ImageClasses,
    ImageSample,
    PackImage,
    RandomResizedCrop,
    ResizeShort,
    SquashTo,
)
from gps_seg.datasets.longest_side import LongestSideResize
from gps_seg.datasets.mask_folder import MaskFolderDataset
from gps_seg.datasets.mask_transforms import LoadMask
from gps_seg.datasets.object_prompts import ObjectPrompts, PackObjects
from gps_seg.datasets.objects import LoadObjects
from gps_seg.datasets.reading import LoadImage, read_image
from gps_seg.datasets.resize import SquashResize
from gps_seg.datasets.sampler import EpochSampler
from gps_seg.datasets.seeded import DrawSampler, SeededDataset, with_draws
from gps_seg.datasets.specs import MASK_FOLDERS, MaskFolder
from gps_seg.datasets.stored_views import FlipAndTurn, StoredViews

__all__ = [
    'IMAGE_CLASSES',
    'MASK_FOLDERS',
    'AddBorderClass',
    'Augment',
    'BorderedMaskFolder',
    'BoxPrompt',
    'CenterCropTo',
    'DrawSampler',
    'EpochSampler',
    'FlipAndTurn',
    'ImageClassDataset',
    'ImageClasses',
    'ImageSample',
    'LoadImage',
    'LoadMask',
    'LoadObjects',
    'LongestSideResize',
    'MaskFolder',
    'MaskFolderDataset',
    'ObjectPrompts',
    'PackImage',
    'PackObjects',
    'RandomResizedCrop',
    'ResizeShort',
    'SeededDataset',
    'SquashResize',
    'SquashTo',
    'StoredViews',
    'black_border',
    'read_image',
    'with_draws',
]
