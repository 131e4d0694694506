# ImageNet-1k on Swin-B, beside Table 11 of GPS (arXiv:2312.10136). For GPUs.
_base_ = '../_base_/suites/published_others.py'
title = 'ImageNet-1k, Swin-B'
data = dict(imagenet=dict())
models = {'swin-b': dict(config='classification/gps_swin-b_{data}.py')}
tune_epochs = 5
epochs = 30
published = [dict(name='table11_imagenet_swin', data=dict(imagenet='ImageNet-1k'))]
