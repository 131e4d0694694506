"""Models and losses; importing this registers them with MMSegmentation's registries."""

from gps_seg.models.architectures import ARCHITECTURES, Architecture
from gps_seg.models.losses import BCESoftIoULoss, MonaiDiceFocalLoss, MonaiDiceLoss
from gps_seg.models.mmseg import TunableEncoderDecoder
from gps_seg.models.sam_segmentor import SAMSegmentor

__all__ = [
    'ARCHITECTURES',
    'Architecture',
    'BCESoftIoULoss',
    'MonaiDiceFocalLoss',
    'MonaiDiceLoss',
    'SAMSegmentor',
    'TunableEncoderDecoder',
]
