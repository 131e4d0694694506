"""Models and losses; importing this registers them with MMSegmentation's registries."""

from gps_seg.models.architectures import ARCHITECTURES, Architecture
from gps_seg.models.classification import ImageClassifier, ImageClassPreprocessor
from gps_seg.models.losses import BCESoftIoULoss
from gps_seg.models.mmseg import TunableEncoderDecoder
from gps_seg.models.monai_losses import (
    MonaiDiceCELoss,
    MonaiDiceFocalLoss,
    MonaiDiceLoss,
    MonaiGeneralizedDiceLoss,
    MonaiTverskyLoss,
)
from gps_seg.models.sam_segmentor import SAMSegmentor

__all__ = [
    'ARCHITECTURES',
    'Architecture',
    'BCESoftIoULoss',
    'ImageClassPreprocessor',
    'ImageClassifier',
    'MonaiDiceCELoss',
    'MonaiDiceFocalLoss',
    'MonaiDiceLoss',
    'MonaiGeneralizedDiceLoss',
    'MonaiTverskyLoss',
    'SAMSegmentor',
    'TunableEncoderDecoder',
]
