# GPS for ViT-B/16 on CUB-200-2011 by the protocol of the authors' code: every epoch is scored on
# the test images, and the best one is what is reported. Its scores are too high, since the test
# images chose; log and metrics.json say so beside them. Any other leaf takes the same lines.
_base_ = './gps_vit-b16_cub.py'
val_dataloader = dict(
    _delete_=True,
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset={{_base_.test_dataloader.dataset}},
)
val_evaluator = dict(_delete_=True, type='ClassificationMetric')
val_cfg = dict(_delete_=True, type='ValLoop')
