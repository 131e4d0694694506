# All parameters of the ViT-Tiny UPerNet, with the learning rate that suits them.
_base_ = './gps_upernet-vit-tiny_kvasir-256.py'
default_hooks = dict(fine_tune=dict(method=dict(_delete_=True, type='Full')))
optim_wrapper = dict(optimizer=dict(lr=2e-4))
