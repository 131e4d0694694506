# GPS for ViT-B/16 on CUB-200-2011. K = 2 in Table 7 and in the authors' script, whose other
# settings these are.
_base_ = '../_base_/published/fgvc.py'
model = dict(num_classes=200)
train_dataloader = test_dataloader = dict(dataset=dict(spec='fgvc/cub'))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
default_hooks = dict(fine_tune=dict(method=dict(k=2)))
