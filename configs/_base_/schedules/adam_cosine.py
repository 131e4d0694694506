# Adam without weight decay, cosine to 1e-7, the first epoch warmed up. The cosine ends with
# max_epochs, wherever that is set: --cfg-options train_cfg.max_epochs=5 needs nothing else.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=20, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=2e-4, weight_decay=0.0))
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min=1e-7, convert_to_iter_based=True),
    dict(type='LinearLR', start_factor=1e-3, end=1, convert_to_iter_based=True),
]
