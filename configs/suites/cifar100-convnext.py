# The whole CIFAR-100 on ConvNeXt-B, beside Table 10 of GPS (arXiv:2312.10136). For a GPU.
_base_ = '../_base_/suites/published_others.py'
title = 'CIFAR-100, ConvNeXt-B'
data = dict(cifar100=dict())
models = {'convnext-b': dict(config='classification/gps_convnext-b_{data}.py')}
published = [dict(name='table10_cifar_convnext', data=dict(cifar100='CIFAR-100'))]
