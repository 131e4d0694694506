# Table 5, Full: every parameter. AdamW, as the authors' script for it.
_base_ = ['../_base_/table5.py', '../_base_/methods/full.py']
optim_wrapper = dict(optimizer=dict(type='AdamW'))
