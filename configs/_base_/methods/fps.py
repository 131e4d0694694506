# Feedforward-based Parameter Selection (arXiv:2510.27359): weight times activation, no gradient.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='FPS', k=1)))
