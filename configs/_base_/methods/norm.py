# The scales and biases of normalisation layers, and the head; running statistics stay the base's.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='Norm')))
