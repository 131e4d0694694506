# Low-rank adaptation (arXiv:2106.09685) of queries and values, at the published size.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='LoRA', rank=16, slices='qv')))
