# GPS for Swin-B on NABirds: the ViT's settings, since no others are published. K is not printed for
# this backbone; it is the ViT's, see gps_swin-b_cars.py.
_base_ = './gps_vit-b16_nabirds.py'
model = dict(
    backbone='swin_base_patch4_window7_224.ms_in22k',
    weights='weights/swin_base_patch4_window7_224.ms_in22k.safetensors',
)
