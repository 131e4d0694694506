# ImageNet-1k on ConvNeXt-B, beside Table 11 of GPS (arXiv:2312.10136). For GPUs.
_base_ = '../_base_/suites/published_others.py'
title = 'ImageNet-1k, ConvNeXt-B'
data = dict(imagenet=dict())
models = {'convnext-b': dict(config='classification/gps_convnext-b_{data}.py')}
tune_epochs = 5
epochs = 30
published = [dict(name='table11_imagenet_convnext', data=dict(imagenet='ImageNet-1k'))]
