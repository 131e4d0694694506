# GPS for ViT-B/16 on CIFAR-100 of VTAB-1k. Settings of the authors' script.
_base_ = '../_base_/published/vtab.py'
model = dict(num_classes=100)
train_dataloader = test_dataloader = dict(dataset=dict(spec='vtab-1k/cifar'))
optim_wrapper = dict(optimizer=dict(lr=1e-2))
