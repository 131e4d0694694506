# Adapters behind every attention and every MLP (Houlsby et al., arXiv:1902.00751).
_base_ = './adapter.py'
default_hooks = dict(fine_tune=dict(method=dict(placement='houlsby')))
