# Does the fresh head want another learning rate than selected entries? GPS on Oxford Flowers with
# a head that learns ten times as fast. Fits two CPU cores.
_base_ = './flowers-tiny.py'
title = 'Oxford Flowers (90 classes), a head that learns ten times as fast'
options = {'optim_wrapper.paramwise_cfg': dict(custom_keys={'head': dict(lr_mult=10.0)})}
methods = dict(
    _delete_=True,
    gps=dict(label='GPS, K = 1', method=dict(type='GPS', k=1), options=options),
    late=dict(
        label='GPS, K = 1, block 9 of 12 on',
        method=dict(type='GPS', k=1, train_from=9),
        options=options,
    ),
    random=dict(
        label='random, K = 1', method=dict(type='Random', k=1, seed='$seed'), options=options
    ),
)
tune = {'optim_wrapper.optimizer.lr': [3e-4, 1e-3, 3e-3]}
reference = None

# A helper of this file, no setting.
del options
