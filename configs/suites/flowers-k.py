# How many entries of each neuron, on Oxford Flowers with a ViT-Tiny: fits two CPU cores.
_base_ = './flowers-tiny.py'
title = 'The number of entries of each neuron, Oxford Flowers (90 classes), ViT-Tiny'
methods = {
    '_delete_': True,
    **{
        f'gps_k{k}': dict(label=f'GPS, K = {k}', method=dict(type='GPS', k=k))
        for k in (1, 2, 4, 10, 20)
    },
    **{
        f'random_k{k}': dict(
            label=f'random, K = {k}', method=dict(type='Random', k=k, seed='$seed')
        )
        for k in (1, 2, 4, 10, 20)
    },
}
sweep = dict(
    x='entries of each neuron, K',
    points={
        f'{name}_k{k}': (label, k)
        for name, label in (('gps', 'GPS'), ('random', 'random'))
        for k in (1, 2, 4, 10, 20)
    },
    log=True,
)
reference = 'gps_k1'
control = 'random_k1'
