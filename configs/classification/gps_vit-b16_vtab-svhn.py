# GPS for ViT-B/16 on SVHN of VTAB-1k. Settings of the authors' script.
_base_ = '../_base_/published/vtab.py'
model = dict(num_classes=10)
train_dataloader = test_dataloader = dict(dataset=dict(spec='vtab-1k/svhn'))
optim_wrapper = dict(optimizer=dict(lr=5e-3))
