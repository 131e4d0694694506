# GPS for ViT-B/16 on Patch Camelyon of VTAB-1k. K = 2 in Table 7 and in the authors' script.
_base_ = '../_base_/published/vtab.py'
model = dict(num_classes=2)
train_dataloader = test_dataloader = dict(dataset=dict(spec='vtab-1k/patch_camelyon'))
optim_wrapper = dict(optimizer=dict(lr=4e-3))
default_hooks = dict(fine_tune=dict(method=dict(k=2)))
