# GPS for ViT-B/16 on Oxford Flowers. K = 1 in Table 7 and in the authors' script, whose other
# settings these are.
_base_ = '../_base_/published/fgvc.py'
model = dict(num_classes=102, drop_path=0.1)
train_dataloader = test_dataloader = dict(dataset=dict(spec='fgvc/flowers'))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
custom_hooks = [dict(type='EMAHook', momentum=0.01)]  # a decay of 0.99
