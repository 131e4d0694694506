# Every parameter.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='Full')))
