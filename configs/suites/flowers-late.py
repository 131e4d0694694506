# Where to train: GPS on Oxford Flowers from a block of the ViT-Tiny on, score against time. Fits
# two CPU cores.
_base_ = './flowers-tiny.py'
title = 'Oxford Flowers (90 classes), GPS from a block on'
methods = {
    '_delete_': True,
    **{
        f'from_{block}': dict(
            label=f'GPS, K = 1, block {block} of 12 on' if block else 'GPS, K = 1, all blocks',
            method=dict(type='GPS', k=1, train_from=block),
        )
        for block in (0, 3, 6, 9)
    },
}
sweep = dict(
    x='first block that trains, of 12',
    points={f'from_{block}': ('GPS, K = 1', block) for block in (0, 3, 6, 9)},
)
reference = 'from_0'
control = None
