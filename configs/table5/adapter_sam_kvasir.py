# Table 5, Adapter, which is SAM-Adapter (arXiv:2304.09148). AdamW, as the authors' script.
_base_ = ['../_base_/table5.py', '../_base_/methods/sam_adapter.py']
optim_wrapper = dict(optimizer=dict(type='AdamW'))
