# The schedule of GPS (arXiv:2312.10136, section 4.1): Adam without weight decay, 100 epochs of a
# cosine to 1e-8, ten of them warmed up. The warm-up begins at a ten-thousandth of the learning
# rate: at 1e-3 that is the 1e-7 of the authors' scripts. It ends with max_epochs, wherever that is
# set; a shorter training needs a shorter warm-up too.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3, weight_decay=0.0))
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min=1e-8, convert_to_iter_based=True),
    dict(type='LinearLR', start_factor=1e-4, end=10, convert_to_iter_based=True),
]
