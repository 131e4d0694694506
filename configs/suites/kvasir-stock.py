# Kvasir-SEG with a stock model of MMSegmentation, UPerNet on a ViT-Tiny, at 256 pixels: fits two
# CPU cores. Computed in bf16, as its configs are.
_base_ = './kvasir-tiny.py'
title = 'Kvasir-SEG, MMSegmentation UPerNet on a ViT-Tiny at 256 pixels'
models = {
    '_delete_': True,
    'upernet-vit-tiny-256': dict(config='gps_upernet-vit-tiny_kvasir-256.py'),
}
methods = dict(
    _delete_=True,
    linear=dict(label='neck and head (linear)', method=dict(type='Linear')),
    random_k10=dict(label='random, K = 10', method=dict(type='Random', k=10, seed='$seed')),
    gps_k10=dict(label='GPS, K = 10', method=dict(type='GPS', k=10)),
    full=dict(label='full', method=dict(type='Full')),
)
