"""MMSegmentation's UPerNet on a ViT-B/16 of timm (AugReg, ImageNet-21k) with two classes.

The weights are timm's own file, https://huggingface.co/timm/vit_base_patch16_224.augreg_in21k;
put its model.safetensors into weights/ of the data root under the name below. The positions are
resized to the images, the neck and the heads start fresh.
"""

_base_ = 'mmseg::_base_/models/upernet_vit-b16_ln_mln.py'

model = dict(
    pretrained='timm-vit://weights/vit_base_patch16_224.augreg_in21k.safetensors',
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, size_divisor=32),
    backbone=dict(patch_bias=True),
    decode_head=dict(num_classes=2, out_channels=2, loss_decode=dict(avg_non_ignore=True)),
    auxiliary_head=dict(num_classes=2, out_channels=2, loss_decode=dict(avg_non_ignore=True)),
)
