# How much of their entries tasks of VTAB-1k share on ViT-B/16: the pairs and the triple of Fig. 12
# of GPS (arXiv:2312.10136), of which the paper says that about two thirds are shared.
title = 'What tasks of VTAB-1k share, GPS with K = 1, ViT-B/16'
measure = dict(
    function='gps_seg.bench.experiments.selections:overlap',
    cases=dict(
        gps=dict(
            tasks={
                'CIFAR-100': 'gps_vit-b16_vtab-cifar.py',
                'Caltech101': 'gps_vit-b16_vtab-caltech101.py',
                'EuroSAT': 'gps_vit-b16_vtab-eurosat.py',
                'Resisc45': 'gps_vit-b16_vtab-resisc45.py',
                'Clevr-count': 'gps_vit-b16_vtab-clevr-count.py',
                'dSprites-loc': 'gps_vit-b16_vtab-dsprites-loc.py',
            },
            method=dict(type='GPS', k=1),
            groups=[
                ['CIFAR-100', 'Caltech101'],
                ['EuroSAT', 'Resisc45'],
                ['Clevr-count', 'dSprites-loc'],
                ['CIFAR-100', 'EuroSAT', 'Clevr-count'],
            ],
        ),
    ),
)
