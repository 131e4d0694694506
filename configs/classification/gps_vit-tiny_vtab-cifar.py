# GPS for a ViT-Tiny on CIFAR-100 of VTAB-1k, in bf16: trains on a CPU.
_base_ = [
    '../_base_/models/vit_tiny.py',
    '../_base_/datasets/vtab.py',
    '../_base_/schedules/adam_cosine.py',
    '../_base_/methods/gps_classifier.py',
]
model = dict(num_classes=100)
train_dataloader = dict(num_workers=1)
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)
train_cfg = dict(max_epochs=5)
optim_wrapper = dict(type='AutocastOptimWrapper', optimizer=dict(lr=3e-3))
