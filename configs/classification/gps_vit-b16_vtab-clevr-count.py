# GPS for ViT-B/16 on Clevr/count of VTAB-1k. K = 1 in Table 7, whose count fits K = 2 instead;
# settings of the authors' script.
_base_ = '../_base_/published/vtab.py'
model = dict(num_classes=8, drop_path=0.1)
train_dataloader = test_dataloader = dict(batch_size=16, dataset=dict(spec='vtab-1k/clevr_count'))
optim_wrapper = dict(optimizer=dict(lr=3e-4))
