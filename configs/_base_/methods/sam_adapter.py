# SAM-Adapter (arXiv:2304.09148): prompts from the image's high frequencies, for every block of SAM.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='SAMAdapter')))
