# A ViT-B/16 on your own classes, at 224 pixels: wants a GPU. Settings of FGVC (K = 1).
_base_ = [
    '../_base_/models/vit_b16.py',
    '../_base_/datasets/own_classes.py',
    '../_base_/schedules/adam_cosine.py',
    '../_base_/methods/gps_classifier.py',
]
train_cfg = dict(max_epochs=30)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
