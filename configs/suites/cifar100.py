# The whole CIFAR-100 on ViT-B/16, beside Table 10 of GPS (arXiv:2312.10136). For a GPU.
_base_ = '../_base_/suites/published.py'
title = 'CIFAR-100, ViT-B/16'
data = dict(cifar100=dict())
models = {'vit-b16': dict(config='classification/gps_vit-b16_{data}.py')}
published = [dict(name='table10_cifar_vit', data=dict(cifar100='CIFAR-100'))]
