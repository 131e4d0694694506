# GPS for ViT-B/16 on DMLab of VTAB-1k. Settings of the authors' script.
_base_ = '../_base_/published/vtab.py'
model = dict(num_classes=6, drop_path=0.1)
train_dataloader = test_dataloader = dict(batch_size=16, dataset=dict(spec='vtab-1k/dmlab'))
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
