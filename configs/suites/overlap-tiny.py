# How much of their entries two tasks share, as in Fig. 12 of GPS (arXiv:2312.10136), on a ViT-Tiny:
# fits two CPU cores. Its pictures are overlap.png and shared-*.png.
title = 'What two tasks share, GPS with K = 1, ViT-Tiny'
measure = dict(
    function='gps_seg.bench.experiments.selections:overlap',
    cases=dict(
        gps=dict(
            tasks={
                'Flowers': 'gps_vit-tiny_flowers.py',
                'CIFAR-100': 'gps_vit-tiny_vtab-cifar.py',
            },
            method=dict(type='GPS', k=1),
            groups=[['Flowers', 'CIFAR-100']],
            num_images=128,
        ),
    ),
)
