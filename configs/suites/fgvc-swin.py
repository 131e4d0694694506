# The five fine-grained data sets on Swin-B, beside Table 9 of GPS (arXiv:2312.10136). For a GPU.
_base_ = '../_base_/suites/published_others.py'
title = 'FGVC, Swin-B'
data = dict(cub=dict(), nabirds=dict(), flowers=dict(), dogs=dict(), cars=dict())
models = {'swin-b': dict(config='classification/gps_swin-b_{data}.py')}
means = {'mean of 5': ['cub', 'nabirds', 'flowers', 'dogs', 'cars']}
published = [
    dict(
        name='table9_fgvc_swin',
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
