# Gradient-based Parameter Selection (CVPR 2024): the top k incoming weights of every neuron.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='GPS', k=1)))
