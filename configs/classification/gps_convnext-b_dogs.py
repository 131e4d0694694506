# GPS for ConvNeXt-B on Stanford Dogs: the ViT's settings, since no others are published. K is not
# printed for this backbone; it is the ViT's, see gps_convnext-b_cars.py.
_base_ = './gps_vit-b16_dogs.py'
model = dict(
    backbone='convnext_base.fb_in22k',
    weights='weights/convnext_base.fb_in22k.safetensors',
)
