# Visual prompt tuning (arXiv:2203.12119), prompts of its own for every block of a ViT or Swin.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='VPTDeep', num=50)))
