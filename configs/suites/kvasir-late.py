# Where to train: GPS on Kvasir-SEG from a block of the ViT-Tiny SAM on, at 256 pixels. Fits two
# CPU cores. Computed in bf16, which halves the time there.
title = 'Kvasir-SEG, GPS from a block on'
data = dict(kvasir_seg=dict())
models = {'sam-tiny-256': dict(config='gps_sam-tiny_kvasir-256.py')}
methods = {
    f'from_{block}': dict(
        label=f'GPS, K = 10, block {block} of 12 on' if block else 'GPS, K = 10, all blocks',
        method=dict(type='GPS', k=10, train_from=block),
    )
    for block in (0, 3, 6, 9)
}
settings = {
    'optim_wrapper.type': 'AutocastOptimWrapper',
    'default_hooks.fine_tune.probe': False,
}
tune = {'optim_wrapper.optimizer.lr': [1e-3, 3e-3, 1e-2]}
extend = 'each'
tune_epochs = 2
epochs = 4
seeds = [0, 1]
validation = 'mDice'
tests = ['mDice', 'mIoU', 'pooled_Dice', 'classes_mDice']
checkpoint = 'best'
reference = 'from_0'
