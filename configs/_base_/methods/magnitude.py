# The control without images: the k largest weights of every neuron.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='Magnitude', k=1)))
