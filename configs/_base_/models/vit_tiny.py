"""A ViT-Tiny/16 from ImageNet (AugReg, arXiv:2106.10270) with a fresh head.

The weights are timm's own file (gps-seg download vit_tiny).
"""

model = dict(
    type='ImageClassifier',
    backbone='vit_tiny_patch16_224.augreg_in21k_ft_in1k',
    weights='weights/vit_tiny_patch16_224.augreg.safetensors',
)
