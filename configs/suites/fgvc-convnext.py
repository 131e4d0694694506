# The five fine-grained data sets on ConvNeXt-B, beside Table 9 of GPS (arXiv:2312.10136). For a
# GPU.
_base_ = './fgvc-swin.py'
title = 'FGVC, ConvNeXt-B'
models = {
    '_delete_': True,
    'convnext-b': dict(config='classification/gps_convnext-b_{data}.py'),
}
published = [{**_base_.published[0], 'name': 'table9_fgvc_convnext'}]
