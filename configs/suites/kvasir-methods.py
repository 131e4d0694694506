# Every row of GPS's Table 5 and more, on Kvasir-SEG with a SAM whose encoder is a ViT-Tiny, at 256
# pixels: fits two CPU cores. Each method chooses from the same three learning rates; the first five
# by validation get a second seed. K = 10 gives every selection 209,280 entries.
_base_ = './kvasir-tiny.py'
title = 'Kvasir-SEG, every method on a ViT-Tiny SAM at 256 pixels'
notes = [
    'The three learning rates are the same for all and were not extended: a method whose best one '
    'lies at an end of them might do better beyond it.'
]
methods = dict(
    _delete_=True,
    full=dict(label='full', method=dict(type='Full')),
    linear=dict(label='decoder and neck (linear)', method=dict(type='Linear')),
    bias=dict(label='bias', method=dict(type='Bias')),
    sam_adapter=dict(label='SAM-Adapter', method=dict(type='SAMAdapter')),
    adapter=dict(label='adapter, width 12', method=dict(type='Adapter', width=12)),
    ssf=dict(label='SSF', method=dict(type='SSF')),
    lora=dict(label='LoRA, q and v, rank 16', method=dict(type='LoRA', rank=16, slices='qv')),
    random_k10=dict(label='random, K = 10', method=dict(type='Random', k=10, seed='$seed')),
    fps_k10=dict(label='FPS, K = 10', method=dict(type='FPS', k=10)),
    grft_k10=dict(label='GRFT, K = 10', method=dict(type='GRFT', k=10, lines='auto', pull=1e-3)),
    gps_k10=dict(label='GPS, K = 10', method=dict(type='GPS', k=10)),
)
tune = {'optim_wrapper.optimizer.lr': [3e-4, 1e-3, 3e-3]}
extend = 'no'
seeds = [0]
more_seeds = [1]
more_for = 5
