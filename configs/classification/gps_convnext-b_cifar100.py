# GPS for ConvNeXt-B on the whole CIFAR-100, K = 5 as in Table 7. The source of the learning rate is
# unknown.
_base_ = './gps_vit-b16_cifar100.py'
model = dict(
    backbone='convnext_base.fb_in22k',
    weights='weights/convnext_base.fb_in22k.safetensors',
)
