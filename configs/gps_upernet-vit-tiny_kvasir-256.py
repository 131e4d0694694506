# GPS for UPerNet of MMSegmentation on a ViT-Tiny from ImageNet, at 256 pixels: trains on two CPU
# cores, in bf16. The neck and the head start fresh, so that every method trains them whole.
_base_ = [
    './_base_/models/upernet_vit_tiny.py',
    './_base_/datasets/kvasir_seg_256.py',
    './_base_/schedules/adam_cosine.py',
    './_base_/methods/gps.py',
]
train_dataloader = dict(batch_size=8, num_workers=1)
val_dataloader = dict(batch_size=8, num_workers=1)
test_dataloader = dict(batch_size=8, num_workers=1)
train_cfg = dict(max_epochs=10)
optim_wrapper = dict(type='AutocastOptimWrapper', optimizer=dict(lr=1e-3))
default_hooks = dict(
    fine_tune=dict(method=dict(k=10), selection_pass=dict(num_images=256, batch_size=32))
)
