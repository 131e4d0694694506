"""ViT-B/16 from ImageNet-21k (AugReg, arXiv:2106.10270) with a fresh head; mean and std are 0.5.

The weights are timm's own file, https://huggingface.co/timm/vit_base_patch16_224.augreg_in21k;
put its model.safetensors into weights/ of the data root under the name below.
"""

model = dict(
    type='ImageClassifier',
    backbone='vit_base_patch16_224.augreg_in21k',
    weights='weights/vit_base_patch16_224.augreg_in21k.safetensors',
)
