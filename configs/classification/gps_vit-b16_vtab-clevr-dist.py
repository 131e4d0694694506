# GPS for ViT-B/16 on Clevr/distance of VTAB-1k. Settings of the authors' script.
_base_ = '../_base_/published/vtab.py'
model = dict(num_classes=6, drop_path=0.1)
train_dataloader = test_dataloader = dict(batch_size=16, dataset=dict(spec='vtab-1k/clevr_dist'))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
