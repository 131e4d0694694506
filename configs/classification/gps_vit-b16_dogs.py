# GPS for ViT-B/16 on Stanford Dogs. K = 1 in Table 7 and in the authors' script, whose other
# settings these are.
_base_ = '../_base_/published/fgvc.py'
model = dict(num_classes=120)
train_dataloader = test_dataloader = dict(batch_size=64, dataset=dict(spec='fgvc/dogs'))
optim_wrapper = dict(optimizer=dict(lr=1e-4))
