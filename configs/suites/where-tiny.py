# In which blocks a network-wide choice of 1 % lies, as in Fig. 9 of GPS (arXiv:2312.10136), on a
# ViT-Tiny: fits two CPU cores. Its picture is blocks.png.
title = 'Where a network-wide choice of 1 % lies, ViT-Tiny'
_net = dict(type='Select', criterion='supcon_gradient', granularity='net', fraction=0.01)
_tasks = {
    'Oxford Flowers (90 classes)': 'gps_vit-tiny_flowers.py',
    'CIFAR-100 (VTAB-1k)': 'gps_vit-tiny_vtab-cifar.py',
}
measure = dict(
    function='gps_seg.bench.experiments.selections:where_entries_lie',
    cases=dict(
        net=dict(tasks=_tasks, method=_net, num_images=128),
        neuron=dict(tasks=_tasks, method=dict(type='GPS', k=1), num_images=128),
    ),
)
del _net, _tasks
