# Adapters behind every MLP (arXiv:2312.10136, eq. 7), at the published size.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='Adapter', width=12)))
