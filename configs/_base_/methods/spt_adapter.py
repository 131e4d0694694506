# SPT-Adapter (arXiv:2303.08481): as many numbers as GPS with k=1, most sensitive entries first.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='SPTAdapter', rank=8, k=1)))
