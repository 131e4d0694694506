# How many entries of each neuron: GPS against a random mask of the same size.
_base_ = './kvasir-tiny.py'
title = 'The number of entries of each neuron, Kvasir-SEG'
methods = {
    '_delete_': True,
    **{
        f'gps_k{k}': dict(label=f'GPS, K = {k}', method=dict(type='GPS', k=k))
        for k in (1, 2, 4, 10, 20, 40)
    },
    **{
        f'random_k{k}': dict(
            label=f'random, K = {k}', method=dict(type='Random', k=k, seed='$seed')
        )
        for k in (1, 2, 4, 10, 20, 40)
    },
}
reference = 'gps_k10'
control = 'random_k10'
