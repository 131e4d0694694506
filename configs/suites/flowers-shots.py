# Few images of each class of Oxford Flowers with a ViT-Tiny: score against their number. Fits two
# CPU cores. The validation images tune, and are not trained on.
_base_ = './flowers-tiny.py'
title = 'Oxford Flowers (90 classes), few images of each class, ViT-Tiny'
data = dict(
    _delete_=True,
    **{f'shots_{k}': dict(options={'train_dataloader.dataset.shots': k}) for k in (1, 2, 4)},
)
final = dict(_delete_=True)
checkpoint = 'last'
epochs = 20
tune_epochs = 10
sweep = dict(x='images of each class', points={f'shots_{k}': k for k in (1, 2, 4)}, log=True)
