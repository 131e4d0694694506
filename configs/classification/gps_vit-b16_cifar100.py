# GPS for ViT-B/16 on the whole CIFAR-100, K = 5 as in Table 7. Neither script nor augmentation are
# published ("as SSF"): those of FGVC. The source of the learning rate is unknown.
_base_ = '../_base_/published/fgvc.py'
model = dict(num_classes=100)
train_dataloader = test_dataloader = dict(dataset=dict(spec='cifar100'))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
default_hooks = dict(fine_tune=dict(method=dict(k=5)))
