# Kvasir-SEG with a third class: the black border, by the rule of AddBorderClass (near-black pixels
# in one piece with an edge of the image). The rule looks at the original pixels.
_base_ = './kvasir_seg_256.py'

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='AddBorderClass'),
    dict(type='SquashResize'),
    dict(
        type='Augment',
        transforms=[
            dict(type='HorizontalFlip', p=0.5),
            dict(type='VerticalFlip', p=0.5),
            dict(type='RandomRotate90', p=1.0),
            dict(
                type='Affine',
                scale=(0.8, 1.25),
                rotate=(-15, 15),
                translate_percent=(-0.1, 0.1),
                # What it fills is as black as the border, and counts as such.
                fill_mask=2,
                p=0.5,
            ),
            dict(
                type='ColorJitter',
                brightness=(0.8, 1.2),
                contrast=(0.8, 1.2),
                saturation=(0.8, 1.2),
                hue=(-0.02, 0.02),
                p=0.5,
            ),
        ],
    ),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='SquashResize'),
    dict(type='LoadMask'),
    dict(type='AddBorderClass'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(type='BorderedMaskFolder', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type='BorderedMaskFolder', pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(type='BorderedMaskFolder', pipeline=test_pipeline))
val_evaluator = dict(type='SegmentationMetric')
test_evaluator = val_evaluator
