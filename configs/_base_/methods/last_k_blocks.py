# The last two blocks whole, what comes behind them, and the head.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='LastKBlocks', k=2)))
