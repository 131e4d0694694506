# Visual prompt tuning (arXiv:2203.12119), prompts that join at the first block of a ViT or Swin.
_base_ = '../default_runtime.py'
default_hooks = dict(fine_tune=dict(method=dict(type='VPTShallow', num=200)))
