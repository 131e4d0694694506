# The five fine-grained data sets on ViT-B/16, beside Table 2 of GPS (arXiv:2312.10136). For a GPU.
_base_ = '../_base_/suites/published.py'
title = 'FGVC, ViT-B/16'
data = dict(cub=dict(), nabirds=dict(), flowers=dict(), dogs=dict(), cars=dict())
models = {'vit-b16': dict(config='classification/gps_vit-b16_{data}.py')}
means = {'mean of 5': ['cub', 'nabirds', 'flowers', 'dogs', 'cars']}
published = [
    dict(
        name='table2_fgvc_vit',
        data=dict(
            cub='CUB-200-2011',
            nabirds='NABirds',
            flowers='Oxford Flowers',
            dogs='Stanford Dogs',
            cars='Stanford Cars',
        ),
        means={'mean of 5': 'FGVC mean'},
    )
]
