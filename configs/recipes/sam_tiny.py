# A SAM with a ViT-Tiny encoder on your own images, at 256 pixels: trains on two CPU cores. The
# settings are those of gps_sam-tiny_kvasir-256.py.
_base_ = [
    '../_base_/models/sam_vit_tiny.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adam_cosine.py',
    '../_base_/methods/gps.py',
]
image_size = 256
model = dict(image_size=None)
train_dataloader = dict(batch_size=8, num_workers=1)
val_dataloader = dict(batch_size=8, num_workers=1)
test_dataloader = dict(batch_size=8, num_workers=1)
train_cfg = dict(max_epochs=15)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
default_hooks = dict(
    fine_tune=dict(method=dict(k=10), selection_pass=dict(num_images=256, batch_size=32))
)
