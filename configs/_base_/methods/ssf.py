# Scaling and shifting features (arXiv:2210.08823): a scale and a shift behind every layer.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='SSF')))
