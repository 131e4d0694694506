# GPS for ConvNeXt-B on ImageNet-1k. K is not printed: the share of Table 11 (1.90 %) lies between K
# = 4 and K = 5, at about 4.8.
_base_ = './gps_vit-b16_imagenet.py'
model = dict(
    backbone='convnext_base.fb_in22k',
    weights='weights/convnext_base.fb_in22k.safetensors',
)
default_hooks = dict(fine_tune=dict(method=dict(k=5)))
