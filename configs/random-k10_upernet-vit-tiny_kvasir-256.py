# The control at as many entries as GPS has there.
_base_ = './gps_upernet-vit-tiny_kvasir-256.py'
default_hooks = dict(fine_tune=dict(method=dict(_delete_=True, type='Random', k=10)))
