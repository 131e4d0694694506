# GPS for ViT-B/16 on Pets of VTAB-1k. Settings of the authors' script.
_base_ = '../_base_/published/vtab.py'
model = dict(num_classes=37)
train_dataloader = test_dataloader = dict(dataset=dict(spec='vtab-1k/oxford_iiit_pet'))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
