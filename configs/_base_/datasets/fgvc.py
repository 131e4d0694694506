# A data set of the fine-grained benchmark (FGVC); a leaf names it by `spec` in the three data sets.
# Training: a random crop and a flip; evaluation: a short side of 248 pixels, the middle 224.
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop'),
    dict(type='Augment', transforms=[dict(type='HorizontalFlip', p=0.5)]),
    dict(type='PackImage'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='ResizeShort'),
    dict(type='CenterCropTo'),
    dict(type='PackImage'),
]

dataset = dict(type='ImageClassDataset', spec='fgvc/flowers', image_size=224)
loader = dict(batch_size=32, num_workers=2, persistent_workers=True)
train_dataloader = dict(
    **loader,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(**dataset, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    **loader,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(**dataset, split='val', pipeline=test_pipeline, test_mode=True),
)
test_dataloader = dict(
    **loader,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(**dataset, split='test', pipeline=test_pipeline, test_mode=True),
)
val_evaluator = dict(type='ClassificationMetric')
test_evaluator = val_evaluator

# Helpers of this file, no settings.
del dataset, loader
