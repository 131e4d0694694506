# SAM ViT-B on your own images, at 1024 pixels; the settings are those of gps_sam_kvasir.py.
_base_ = [
    '../_base_/models/sam_vit_b.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adam_cosine.py',
    '../_base_/methods/gps.py',
]
image_size = 1024
model = dict(image_size=None)
