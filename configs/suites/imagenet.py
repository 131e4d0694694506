# ImageNet-1k on ViT-B/16, tested on ImageNet-A, -R and -C too, beside Tables 11 and 8 of GPS
# (arXiv:2312.10136). For GPUs. Trials are validated on a hundredth of the training images, which a
# seed holds out: the 50,000 validation images of ImageNet are the test.
_base_ = '../_base_/suites/published.py'
title = 'ImageNet-1k and its robustness sets, ViT-B/16'
data = dict(
    imagenet=dict(
        tests={
            'imagenet-a': {'dataset.spec': 'imagenet-a'},
            'imagenet-r': {'dataset.spec': 'imagenet-r'},
            'imagenet-c': {
                'dataset.spec': 'imagenet-c',
                'evaluator.type': 'CorruptionErrorMetric',
            },
        }
    )
)
models = {'vit-b16': dict(config='classification/gps_vit-b16_{data}.py')}
tune_epochs = 5
epochs = 30
published = [
    dict(name='table11_imagenet_vit', data=dict(imagenet='ImageNet-1k')),
    dict(
        name='table8_robustness',
        data=dict(imagenet='ImageNet-1K'),
        tests={
            'imagenet-a': 'ImageNet-A',
            'imagenet-r': 'ImageNet-R',
            'imagenet-c': 'ImageNet-C',
        },
    ),
]
