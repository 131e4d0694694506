# How many entries of each neuron, as in Figs. 6c and 8 of GPS (arXiv:2312.10136): GPS on CUB beside
# a random mask of the same size. For a GPU.
_base_ = './fgvc.py'
title = 'The number of entries of each neuron, CUB-200-2011, ViT-B/16'
notes = [
    'The figures print no numbers. The paper says that there is a peak for each task between 1 and '
    '15 entries.',
]
data = dict(_delete_=True, cub=dict())
methods = {
    '_delete_': True,
    **{
        f'gps_k{k}': dict(label=f'GPS, K = {k}', method=dict(type='GPS', k=k))
        for k in (1, 2, 3, 5, 7, 10, 15)
    },
    **{
        f'random_k{k}': dict(
            label=f'random, K = {k}', method=dict(type='Random', k=k, seed='$seed')
        )
        for k in (1, 2, 3, 5, 7, 10, 15)
    },
}
means = dict(_delete_=True)
published = []
sweep = dict(
    x='entries of each neuron, K',
    points={
        f'{name}_k{k}': (label, k)
        for name, label in (('gps', 'GPS'), ('random', 'random'))
        for k in (1, 2, 3, 5, 7, 10, 15)
    },
)
reference = 'gps_k2'
control = 'random_k2'
