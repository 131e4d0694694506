"""The stock `Sam` of segment_anything around any weights, as its own tools take it."""

from collections.abc import Mapping, Sequence

import torch
from segment_anything.modeling import ImageEncoderViT, Sam
from torch import Tensor

from gps_seg.models.architectures import (
    ARCHITECTURES,
    PATCH_SIZE,
    build_sam_parts,
    encoder_settings,
)

# Of the official checkpoints: ImageNet's.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def stock_sam(
    arch: str,
    state: Mapping[str, Tensor],
    *,
    image_size: int | None = None,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
) -> Sam:
    """A `Sam` for SamPredictor and SamAutomaticMaskGenerator, in evaluation mode.

    arch: a key of ARCHITECTURES. state: all tensors by SAM's names, as a state dict or an exported
    file has them. image_size: side of the input in pixels; default: the one that the parameters'
    shapes belong to, at which every module is the stock one. At another size the image encoder is
    the one of this toolkit, which interpolates the positions. mean, std: of pixels, red first.

    Raises ValueError for an unknown architecture, and RuntimeError, of torch, where the tensors do
    not fit.
    """
    native = ARCHITECTURES[arch].native_grid * PATCH_SIZE if arch in ARCHITECTURES else PATCH_SIZE
    size = native if image_size is None else image_size
    with torch.random.fork_rng(devices=[]):  # the weights that are overwritten are drawn from it
        parts = build_sam_parts(arch, size)
        if size == native:
            parts['image_encoder'] = ImageEncoderViT(**encoder_settings(arch))
    sam = Sam(**parts, pixel_mean=list(mean), pixel_std=list(std))
    sam.image_encoder.img_size = size  # what it pads to
    sam.load_state_dict(dict(state))
    return sam.eval()
