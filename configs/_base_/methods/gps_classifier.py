# GPS for classifiers, as published: the contrastive loss sees views that are stronger than the
# training's, and the last batch is left out where it is not full. Before training, the fresh head
# would be scored for nothing.
_base_ = './gps.py'
default_hooks = dict(
    report=dict(zero_shot=False),
    fine_tune=dict(
        selection_pass=dict(
            drop_last=True,
            pipeline=[
                dict(type='LoadImage'),
                dict(type='RandomResizedCrop', scale=(0.08, 1.0), interpolation='bilinear'),
                dict(
                    type='Augment',
                    transforms=[
                        dict(type='HorizontalFlip', p=0.5),
                        dict(
                            type='ColorJitter',
                            brightness=(0.6, 1.4),
                            contrast=(0.6, 1.4),
                            saturation=(0.6, 1.4),
                            hue=(-0.1, 0.1),
                            p=0.8,
                        ),
                        dict(type='ToGray', p=0.2),
                    ],
                ),
                dict(type='PackImage'),
            ],
        )
    ),
)
