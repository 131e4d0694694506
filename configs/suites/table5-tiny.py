# Table 5 with a SAM whose encoder is a ViT-Tiny, at 256 pixels: fits two CPU cores. Its neck and
# decoder start fresh. Computed in bf16, which halves the time there.
_base_ = './table5.py'
title = "GPS's Table 5 on a ViT-Tiny SAM at 256 pixels"
notes = ['Nothing is tuned: the learning rate of the full-size table is taken for all.']
models = {
    '_delete_': True,
    'sam-tiny-256': dict(
        config='gps_sam-tiny_kvasir-256.py', options={'optim_wrapper.optimizer.lr': 2e-4}
    ),
}
settings = {
    'optim_wrapper.type': 'AutocastOptimWrapper',
    'default_hooks.fine_tune.probe': False,
}
epochs = 4
