# The ablation of GPS's Table 6a: as many entries as k per neuron, ranked over the whole network.
_base_ = '../default_runtime.py'
default_hooks = dict(
    fine_tune=dict(method=dict(type='Select', criterion='supcon_gradient', granularity='net', k=1))
)
