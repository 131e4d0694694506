# In which blocks a network-wide choice of 1 % lies on the fine-grained tasks and ViT-B/16, as in
# Fig. 9 of GPS (arXiv:2312.10136): the paper says mostly in blocks 11 and 12 of 12.
title = 'Where a network-wide choice of 1 % lies, FGVC, ViT-B/16'
measure = dict(
    function='gps_seg.bench.experiments.selections:where_entries_lie',
    cases=dict(
        net=dict(
            tasks={
                'CUB-200-2011': 'gps_vit-b16_cub.py',
                'NABirds': 'gps_vit-b16_nabirds.py',
                'Oxford Flowers': 'gps_vit-b16_flowers.py',
                'Stanford Dogs': 'gps_vit-b16_dogs.py',
                'Stanford Cars': 'gps_vit-b16_cars.py',
            },
            method=dict(
                type='Select', criterion='supcon_gradient', granularity='net', fraction=0.01
            ),
        ),
    ),
)
