# GPS for a ViT-Tiny on Oxford Flowers, in bf16: trains on a CPU. For the copy of the data set that
# has 90 of the 102 classes; for the whole one, --cfg-options model.num_classes=102.
_base_ = [
    '../_base_/models/vit_tiny.py',
    '../_base_/datasets/fgvc.py',
    '../_base_/schedules/adam_cosine.py',
    '../_base_/methods/gps_classifier.py',
]
model = dict(num_classes=90)
train_dataloader = dict(num_workers=1)
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)
train_cfg = dict(max_epochs=5)
optim_wrapper = dict(type='AutocastOptimWrapper', optimizer=dict(lr=3e-3))
