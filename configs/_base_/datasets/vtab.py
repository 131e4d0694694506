# A task of VTAB-1k: images squashed to 224 pixels, neither augmented nor mixed. A leaf names the
# task by `spec` in the three data sets.
pipeline = [
    dict(type='LoadImage'),
    dict(type='SquashTo'),
    dict(type='PackImage'),
]

dataset = dict(type='ImageClassDataset', spec='vtab-1k/cifar', image_size=224, pipeline=pipeline)
loader = dict(batch_size=32, num_workers=2, persistent_workers=True)
train_dataloader = dict(
    **loader,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(**dataset, split='train'),
)
val_dataloader = dict(
    **loader,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(**dataset, split='val', test_mode=True),
)
test_dataloader = dict(
    **loader,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(**dataset, split='test', test_mode=True),
)
val_evaluator = dict(type='ClassificationMetric')
test_evaluator = val_evaluator

# Helpers of this file, no settings.
del dataset, loader, pipeline
