# GPS for ViT-B/16 on dSprites/ori of VTAB-1k. Settings of the authors' script.
_base_ = '../_base_/published/vtab.py'
model = dict(num_classes=16, drop_path=0.2)
train_dataloader = test_dataloader = dict(batch_size=16, dataset=dict(spec='vtab-1k/dsprites_ori'))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
