# The head of the ViT-Tiny UPerNet, and what starts fresh, alone.
_base_ = './gps_upernet-vit-tiny_kvasir-256.py'
default_hooks = dict(fine_tune=dict(method=dict(_delete_=True, type='Linear')))
