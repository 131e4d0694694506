# A ViT-Tiny on your own classes, at 224 pixels: trains on two CPU cores. The settings are those of
# gps_vit-tiny_flowers.py.
_base_ = [
    '../_base_/models/vit_tiny.py',
    '../_base_/datasets/own_classes.py',
    '../_base_/schedules/adam_cosine.py',
    '../_base_/methods/gps_classifier.py',
]
train_dataloader = dict(num_workers=1)
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)
train_cfg = dict(max_epochs=10)
optim_wrapper = dict(optimizer=dict(lr=3e-3))
