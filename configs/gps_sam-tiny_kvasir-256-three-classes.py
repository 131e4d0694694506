# As gps_sam-tiny_kvasir-256.py, with three classes: background, polyp and the black border. Each of
# the two has a mask token and a hypernetwork of its own (docs/classes.md).
_base_ = [
    './_base_/models/sam_vit_tiny_three_classes.py',
    './_base_/datasets/kvasir_seg_256_three_classes.py',
    './_base_/schedules/adam_cosine.py',
    './_base_/methods/gps.py',
]
train_dataloader = dict(batch_size=8, num_workers=1)
val_dataloader = dict(batch_size=8, num_workers=1)
test_dataloader = dict(batch_size=8, num_workers=1)
train_cfg = dict(max_epochs=10)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
default_hooks = dict(
    fine_tune=dict(method=dict(k=10), selection_pass=dict(num_images=256, batch_size=32))
)
