# The control: as many entries per neuron as GPS, drawn at random.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='Random', k=1, seed=0)))
