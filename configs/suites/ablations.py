# Other ways to select, at equal counts, on the five fine-grained data sets and ViT-B/16: beside
# Tables 6 and 12 of GPS (arXiv:2312.10136). For a GPU.
_base_ = './fgvc.py'
title = 'Ways to select on FGVC, at equal counts, ViT-B/16'
_supcon = dict(type='Select', criterion='supcon_gradient', k='$k')
_random = dict(type='Select', criterion='random', k='$k', options=dict(seed='$seed'))
methods = dict(
    _delete_=True,
    net=dict(label='net', method=dict(**_supcon, granularity='net')),
    layer=dict(label='layer', method=dict(**_supcon, granularity='layer')),
    net_random=dict(label='random, net', method=dict(**_random, granularity='net')),
    neuron_random=dict(label='random, neuron', method=dict(**_random, granularity='neuron')),
    magnitude=dict(label='magnitude', method=dict(type='Magnitude', k='$k')),
    head_ce=dict(
        label='task loss, neuron',
        method=dict(type='Select', criterion='task_gradient', granularity='neuron', k='$k'),
    ),
    gps=dict(label='GPS', method=dict(type='GPS', k='$k')),
)
published = [
    dict(
        name='table12_ablations',
        rows=dict(
            net='Net',
            layer='Layer',
            net_random='Net Random',
            neuron_random='Neuron Random',
            magnitude='Magnitude',
            head_ce='Head+CE',
            gps='GPS',
        ),
        data=dict(
            cub='CUB-200-2011',
            nabirds='NABirds',
            flowers='Oxford Flowers',
            dogs='Stanford Dogs',
            cars='Stanford Cars',
        ),
    )
]
reference = 'gps'
control = 'neuron_random'
del _supcon, _random
