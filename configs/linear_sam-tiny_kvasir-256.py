# The decoder of the ViT-Tiny SAM, and what starts fresh, alone.
_base_ = './gps_sam-tiny_kvasir-256.py'
default_hooks = dict(fine_tune=dict(method=dict(_delete_=True, type='Linear')))
