# The whole CIFAR-100 on Swin-B, beside Table 10 of GPS (arXiv:2312.10136). For a GPU.
_base_ = '../_base_/suites/published_others.py'
title = 'CIFAR-100, Swin-B'
data = dict(cifar100=dict())
models = {'swin-b': dict(config='classification/gps_swin-b_{data}.py')}
published = [dict(name='table10_cifar_swin', data=dict(cifar100='CIFAR-100'))]
