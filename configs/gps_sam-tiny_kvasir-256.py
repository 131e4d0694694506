# A SAM whose encoder is a ViT-Tiny from ImageNet, at 256 pixels: trains on two CPU cores. The neck,
# the relative positions and the decoder start fresh, so that every method trains them whole.
_base_ = [
    './_base_/models/sam_vit_tiny.py',
    './_base_/datasets/kvasir_seg_256.py',
    './_base_/schedules/adam_cosine.py',
    './_base_/methods/gps.py',
]
