# GPS for ViT-B/16 on Caltech101 of VTAB-1k. Settings of the authors' script.
_base_ = '../_base_/published/vtab.py'
model = dict(num_classes=102)
train_dataloader = test_dataloader = dict(batch_size=16, dataset=dict(spec='vtab-1k/caltech101'))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
