# The head alone: for SAM, the mask decoder.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='Linear')))
