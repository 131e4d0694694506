# CIFAR-100 in the form of VTAB-1k (1000 training images) with a ViT-Tiny: fits two CPU cores.
_base_ = './flowers-tiny.py'
title = 'CIFAR-100 (1000 training images), ViT-Tiny'
notes = [
    'A ViT-Tiny; where the lists are not those of VTAB-1k this is no published task, and no score '
    'of it is comparable with a published one.',
]
data = dict(_delete_=True, cifar=dict())
models = {'vit-tiny': dict(config='classification/gps_vit-tiny_vtab-cifar.py')}
