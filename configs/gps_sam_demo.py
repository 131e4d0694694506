# The demo: a tiny SAM, pretrained on drawn everyday objects, learns drawn polyps in well under a
# minute on two CPU cores. `gps-seg demo` draws the data and runs this config with several methods.
_base_ = [
    './_base_/models/sam_demo.py',
    './_base_/datasets/demo_polyps.py',
    './_base_/schedules/adam_cosine.py',
    './_base_/methods/gps.py',
]
model = dict(checkpoint='gps_seg::models/demo_sam.safetensors')
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False)
val_dataloader = dict(batch_size=12, num_workers=0, persistent_workers=False)
test_dataloader = dict(batch_size=12, num_workers=0, persistent_workers=False)
# The learning rate was chosen on the validation images, among 2e-3, 5e-3 and 8e-3.
train_cfg = dict(max_epochs=8)
optim_wrapper = dict(optimizer=dict(lr=5e-3))
default_hooks = dict(fine_tune=dict(selection_pass=dict(num_images=96)))
