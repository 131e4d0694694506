# The control: random entries, as many as in gps_upernet-vit-tiny_kvasir-256.py.
_base_ = './gps_upernet-vit-tiny_kvasir-256.py'
default_hooks = dict(fine_tune=dict(method=dict(_delete_=True, type='Random', k=10)))
