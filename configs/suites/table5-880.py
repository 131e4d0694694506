# Table 5 with all 880 images to train on and none held out, as published: the last epoch is tested.
_base_ = './table5.py'
title = "GPS's Table 5, all 880 images and no held-out set"
notes = [
    'Nothing is tuned and nothing is held out: all 880 images train, and the last epoch is tested '
    'once.'
]
data = dict(
    kvasir_seg=dict(
        options={
            'train_dataloader.dataset.split': 'published_train',
            'val_dataloader': None,
            'val_cfg': None,
            'val_evaluator': None,
        }
    )
)
checkpoint = 'last'
