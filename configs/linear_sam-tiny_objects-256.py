# The neck, relative positions and decoder of the ViT-Tiny SAM, pretrained on drawn objects, so that
# there is something to select from in them (gps_sam-tiny-objects_kvasir-256.py).
_base_ = [
    './_base_/models/sam_vit_tiny.py',
    './_base_/datasets/drawn_objects.py',
    './_base_/schedules/adam_cosine.py',
    './_base_/methods/linear.py',
]
train_dataloader = dict(batch_size=8, num_workers=1)
val_dataloader = dict(batch_size=8, num_workers=1)
test_dataloader = dict(batch_size=8, num_workers=1)
train_cfg = dict(max_epochs=4)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
