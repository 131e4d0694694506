# Adam without weight decay; one epoch of linear warm-up, then a cosine to the last epoch, both set
# at every iteration. The schedulers end with the training loop, so a config overrides only
# `optim_wrapper.optimizer.lr` and `train_cfg.max_epochs`.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=2e-4, weight_decay=0.0))
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.01, begin=0, end=1, by_epoch=True, convert_to_iter_based=True
    ),
    dict(
        type='CosineAnnealingLR', eta_min=1e-7, begin=1, by_epoch=True, convert_to_iter_based=True
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=20, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
