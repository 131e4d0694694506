# The demo's tiny SAM learns drawn polyps and stays promptable: gps_sam_promptable.py at the size of
# gps_sam_demo.py, whose settings are repeated here. `gps-seg demo` draws the data.
_base_ = './gps_sam_promptable.py'

polyps = dict(
    spec=None,
    root='demo-polyps',
    images='images/*.jpg',
    masks='masks/*.png',
    classes=('background', 'polyp'),
    palette=((0, 0, 0), (0, 255, 0)),
    split=None,
    image_size=256,
)
model = dict(
    arch='demo',
    image_size=256,
    checkpoint='gps_seg::models/demo_sam.safetensors',
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
)
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(batch_size=4, dataset=dict(ann_file='train.txt', **polyps), **loader)
val_dataloader = dict(batch_size=12, dataset=dict(ann_file='val.txt', **polyps), **loader)
test_dataloader = dict(batch_size=12, dataset=dict(ann_file='test.txt', **polyps), **loader)
train_cfg = dict(max_epochs=8)
# Of 1e-3, 1.5e-3, 2e-3 and 5e-3 the largest that keeps 95 % at boxes (docs/promptable.md).
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
default_hooks = dict(
    fine_tune=dict(selection_pass=dict(num_images=96)),
    report=dict(prompts=dict(automatic_images=20, points_per_side=16)),
)

# Helpers of this file, no settings.
del polyps, loader
