# Table 5, SSF. AdamW, as the authors' script for it.
_base_ = ['../_base_/table5.py', '../_base_/methods/ssf.py']
optim_wrapper = dict(optimizer=dict(type='AdamW'))
