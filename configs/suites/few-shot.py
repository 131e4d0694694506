# Few images of each class of ImageNet-1k on ViT-B/16, as in Fig. 10 of GPS (arXiv:2312.10136):
# score against the number of images. For a GPU.
_base_ = '../_base_/suites/published.py'
title = 'ImageNet-1k, few images of each class, ViT-B/16'
notes = [
    'The figure prints no numbers. The paper says that GPS lies above all other curves at every '
    'number of images, with the largest gap at one; it names neither the others nor the methods.',
    'A training on k images of each class is tuned on those of the held-out hundredth.',
]
data = {f'shots_{k}': dict(options={'train_dataloader.dataset.shots': k}) for k in (1, 2, 4, 8, 16)}
models = {'vit-b16': dict(config='classification/gps_vit-b16_imagenet.py')}
tune_epochs = 30
epochs = 100
sweep = dict(
    x='images of each class',
    points={f'shots_{k}': k for k in (1, 2, 4, 8, 16)},
    log=True,
)
