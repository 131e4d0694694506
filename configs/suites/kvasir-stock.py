# Kvasir-SEG with a stock model of MMSegmentation, UPerNet on a ViT-Tiny, at 256 pixels: fits two
# CPU cores. Computed in bf16, as its configs are.
title = 'Kvasir-SEG, MMSegmentation UPerNet on a ViT-Tiny at 256 pixels'
data = dict(kvasir_seg=dict())
models = {'upernet-vit-tiny-256': dict(config='gps_upernet-vit-tiny_kvasir-256.py')}
methods = dict(
    linear=dict(label='neck and head (linear)', method=dict(type='Linear')),
    random_k10=dict(label='random, K = 10', method=dict(type='Random', k=10, seed='$seed')),
    gps_k10=dict(label='GPS, K = 10', method=dict(type='GPS', k=10)),
    full=dict(label='full', method=dict(type='Full')),
)
settings = {'default_hooks.fine_tune.probe': False}
tune = {'optim_wrapper.optimizer.lr': [3e-4, 1e-3, 3e-3]}
extend = 'each'
tune_epochs = 2
epochs = 4
seeds = [0, 1]
validation = 'mDice'
tests = ['mDice', 'mIoU', 'pooled_Dice', 'classes_mDice']
checkpoint = 'best'
reference = 'full'
control = 'random_k10'
