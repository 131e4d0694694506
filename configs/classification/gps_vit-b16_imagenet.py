# GPS for ViT-B/16 on ImageNet-1k: 30 epochs, five of warm-up. K is not printed; the share of Table
# 11 (1.37 %) fits K = 4. No script is published: augmentation as for FGVC, batch size and learning
# rate are a choice of this project. It is tested on the 50,000 validation images, on ImageNet-A, -R
# and -C by the suite imagenet.
_base_ = '../_base_/published/fgvc.py'
model = dict(num_classes=1000)
train_dataloader = test_dataloader = dict(batch_size=64, dataset=dict(spec='imagenet'))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=30)
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min=1e-8, convert_to_iter_based=True),
    dict(type='LinearLR', start_factor=1e-4, end=5, convert_to_iter_based=True),
]
default_hooks = dict(fine_tune=dict(method=dict(k=4)))
