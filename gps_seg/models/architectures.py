"""The sizes of SAM that can be built, and the one function that builds its three parts."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import nn

from gps_seg.models.image_encoder import ImageEncoder

PATCH_SIZE = 16


@dataclass(frozen=True)
class Architecture:
    """Sizes of one SAM.

    native_grid: patches along one side of the images that the parameter shapes belong to; other
    image sizes interpolate the positions. global_blocks: blocks that attend to the whole image, all
    others attend within windows of `window_size` patches.
    """

    embed_dim: int
    depth: int
    num_heads: int
    global_blocks: tuple[int, ...]
    native_grid: int = 64
    window_size: int = 14
    prompt_dim: int = 256
    decoder_heads: int = 8
    decoder_mlp_dim: int = 2048
    iou_head_dim: int = 256
    mask_channels: int = 16


ARCHITECTURES = {
    'vit_b': Architecture(embed_dim=768, depth=12, num_heads=12, global_blocks=(2, 5, 8, 11)),
    'vit_l': Architecture(embed_dim=1024, depth=24, num_heads=16, global_blocks=(5, 11, 17, 23)),
    'vit_h': Architecture(embed_dim=1280, depth=32, num_heads=16, global_blocks=(7, 15, 23, 31)),
    # A plain ViT-Ti/16 of timm fits without resampling: 224 / 16 = 14 positions a side, no windows.
    'vit_tiny': Architecture(
        embed_dim=192, depth=12, num_heads=3, global_blocks=tuple(range(12)), native_grid=14
    ),
    # Small enough to be part of the package (under 4 MB in fp32).
    'demo': Architecture(
        embed_dim=96,
        depth=5,
        num_heads=3,
        global_blocks=tuple(range(5)),
        native_grid=16,
        prompt_dim=64,
        decoder_heads=4,
        decoder_mlp_dim=256,
        iou_head_dim=64,
        mask_channels=8,
    ),
}


def encoder_settings(arch: str) -> dict[str, Any]:
    """What `ImageEncoderViT` of segment_anything takes, at its native image size."""
    sizes = ARCHITECTURES[arch]
    return dict(
        img_size=sizes.native_grid * PATCH_SIZE,
        patch_size=PATCH_SIZE,
        embed_dim=sizes.embed_dim,
        depth=sizes.depth,
        num_heads=sizes.num_heads,
        out_chans=sizes.prompt_dim,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=sizes.window_size,
        global_attn_indexes=sizes.global_blocks,
    )


def build_sam_parts(arch: str, image_size: int, *, attention: str = 'auto') -> dict[str, nn.Module]:
    """Build the image encoder, prompt encoder and mask decoder, with fresh parameters.

    image_size: side of the square input, in pixels, a multiple of 16. It changes no parameter's
    shape, so that a checkpoint of the architecture fits at every size. attention: how the image
    encoder computes it, one of ATTENTIONS.

    Raises ValueError for an unknown architecture or attention, or an image size that is no multiple
    of 16.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f'unknown arch {arch!r}; choose one of {", ".join(ARCHITECTURES)}')
    if image_size < PATCH_SIZE or image_size % PATCH_SIZE:
        nearest = max(1, round(image_size / PATCH_SIZE)) * PATCH_SIZE
        raise ValueError(
            f'image_size must be a positive multiple of {PATCH_SIZE} pixels, got {image_size}; '
            f'use {nearest}, for instance'
        )
    sizes = ARCHITECTURES[arch]
    grid = image_size // PATCH_SIZE
    return {
        'image_encoder': ImageEncoder(**encoder_settings(arch), attention=attention),
        'prompt_encoder': PromptEncoder(
            embed_dim=sizes.prompt_dim,
            image_embedding_size=(grid, grid),
            input_image_size=(image_size, image_size),
            mask_in_chans=sizes.mask_channels,
        ),
        'mask_decoder': MaskDecoder(
            transformer_dim=sizes.prompt_dim,
            transformer=TwoWayTransformer(
                depth=2,
                embedding_dim=sizes.prompt_dim,
                num_heads=sizes.decoder_heads,
                mlp_dim=sizes.decoder_mlp_dim,
            ),
            num_multimask_outputs=3,
            iou_head_depth=3,
            iou_head_hidden_dim=sizes.iou_head_dim,
        ),
    }
