# The small SAM that comes with the toolkit, on your own images at 256 pixels: needs no download.
# The settings are those of gps_sam_demo.py.
_base_ = [
    '../_base_/models/sam_demo.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adam_cosine.py',
    '../_base_/methods/gps.py',
]
image_size = 256
model = dict(image_size=None, checkpoint='gps_seg::models/demo_sam.safetensors')
train_dataloader = dict(batch_size=4, num_workers=1)
val_dataloader = dict(batch_size=12, num_workers=1)
test_dataloader = dict(batch_size=12, num_workers=1)
train_cfg = dict(max_epochs=20)
optim_wrapper = dict(optimizer=dict(lr=5e-3))
default_hooks = dict(fine_tune=dict(selection_pass=dict(num_images=96)))
