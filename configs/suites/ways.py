# Ways to select on Kvasir-SEG: criteria and granularities at equal counts (209,280 entries).
_base_ = './kvasir-tiny.py'
title = 'Ways to select on Kvasir-SEG, at equal counts'
methods = dict(
    _delete_=True,
    random=dict(label='random, neuron', method=dict(type='Random', k=10, seed='$seed')),
    magnitude=dict(label='magnitude, neuron', method=dict(type='Magnitude', k=10)),
    fps=dict(label='FPS', method=dict(type='FPS', k=10)),
    grft=dict(label='GRFT', method=dict(type='GRFT', k=10, lines='auto', pull=1e-3)),
    gps=dict(label='GPS (supcon, neuron)', method=dict(type='GPS', k=10)),
    gps_layer=dict(
        label='supcon, layer',
        method=dict(type='Select', criterion='supcon_gradient', granularity='layer', k=10),
    ),
    gps_net=dict(
        label='supcon, net',
        method=dict(type='Select', criterion='supcon_gradient', granularity='net', k=10),
    ),
    task=dict(
        label='task loss, neuron',
        method=dict(type='Select', criterion='task_gradient', granularity='neuron', k=10),
    ),
    squared=dict(
        label='squared gradient, neuron',
        method=dict(type='Select', criterion='squared_gradient', granularity='neuron', k=10),
    ),
)
reference = 'gps'
control = 'random'
