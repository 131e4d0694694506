# The control: one random entry per neuron. As many as GPS has in its config:
# --cfg-options default_hooks.fine_tune.method.k=10
_base_ = './gps_sam-tiny_kvasir-256.py'
default_hooks = dict(fine_tune=dict(method=dict(_delete_=True, type='Random', k=1)))
