# GPS for ViT-B/16 on dSprites/loc of VTAB-1k. Settings of the authors' script.
_base_ = '../_base_/published/vtab.py'
model = dict(num_classes=16)
train_dataloader = test_dataloader = dict(dataset=dict(spec='vtab-1k/dsprites_loc'))
optim_wrapper = dict(optimizer=dict(lr=7e-3))
