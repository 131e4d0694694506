# Kvasir-SEG: 800 images to train on, 80 to choose the checkpoint on, the published 120 to test on.
# The model's input is square, of side `image_size` (one key of each data set; kvasir_seg_256.py
# shows how to change it).

augmentations = [
    dict(type='HorizontalFlip', p=0.5),
    dict(type='VerticalFlip', p=0.5),
    dict(type='RandomRotate90', p=1.0),
    dict(type='Affine', scale=(0.8, 1.25), rotate=(-15, 15), translate_percent=(-0.1, 0.1), p=0.5),
    dict(
        type='ColorJitter',
        brightness=(0.8, 1.2),
        contrast=(0.8, 1.2),
        saturation=(0.8, 1.2),
        hue=(-0.02, 0.02),
        p=0.5,
    ),
]
# The boxes are read only by a model with prompt='box'.
pack = dict(
    type='PackSegInputs',
    meta_keys=(
        'img_path',
        'page',
        'seg_map_path',
        'ori_shape',
        'img_shape',
        'scale_factor',
        'draw',
        'box_prompt',
    ),
)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='SquashResize'),
    dict(type='Augment', transforms=augmentations),
    dict(type='BoxPrompt', jitter=0.1),
    pack,
]
# The mask is loaded after the resizing: metrics are taken at the original size.
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='SquashResize'),
    dict(type='LoadMask'),
    dict(type='BoxPrompt', jitter=0),
    pack,
]

dataset = dict(type='MaskFolderDataset', spec='kvasir_seg', image_size=1024)
train_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(**dataset, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(**dataset, split='val', pipeline=test_pipeline, test_mode=True),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(**dataset, split='test', pipeline=test_pipeline, test_mode=True),
)
val_evaluator = dict(type='ForegroundMetric')
test_evaluator = val_evaluator

# Helpers of this file, no settings.
del dataset, pack
