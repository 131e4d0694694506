"""MMSegmentation's UPerNet, narrow, on a ViT-Tiny from ImageNet at 256 pixels.

The weights are timm's own file (gps-seg download vit_tiny), their positions resized from 224
pixels; the neck and the head start fresh.
"""

_base_ = 'mmseg::_base_/models/upernet_vit-b16_ln_mln.py'

model = dict(
    pretrained='timm-vit://weights/vit_tiny_patch16_224.augreg.safetensors',
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, size_divisor=16),
    backbone=dict(
        img_size=(256, 256), embed_dims=192, num_heads=3, patch_bias=True, out_indices=(2, 5, 8, 11)
    ),
    neck=dict(in_channels=[192] * 4, out_channels=64),
    decode_head=dict(
        in_channels=[64] * 4,
        channels=64,
        num_classes=2,
        out_channels=2,
        loss_decode=dict(avg_non_ignore=True),
    ),
    auxiliary_head=None,
)
