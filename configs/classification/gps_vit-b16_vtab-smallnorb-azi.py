# GPS for ViT-B/16 on SmallNORB/azi of VTAB-1k. Settings of the authors' script.
_base_ = '../_base_/published/vtab.py'
model = dict(num_classes=18, drop_path=0.1)
train_dataloader = test_dataloader = dict(dataset=dict(spec='vtab-1k/smallnorb_azi'))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
