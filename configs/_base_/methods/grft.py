# GRFT (arXiv:2507.00016): whole rows or columns, as many entries as k per neuron, and an L2 pull.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='GRFT', k=1, lines='auto', pull=1e-3)))
