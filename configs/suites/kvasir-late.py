# Where to train: GPS on Kvasir-SEG from a block of the ViT-Tiny SAM on, at 256 pixels. Fits two
# CPU cores. Computed in bf16, which halves the time there.
#
# The grid ends at 3e-3: 1e-2 wins trials of 2 epochs where few blocks train, and collapses over 4.
_base_ = './kvasir-tiny.py'
title = 'Kvasir-SEG, GPS from a block on'
methods = {
    '_delete_': True,
    **{
        f'from_{block}': dict(
            label=f'GPS, K = 10, block {block} of 12 on' if block else 'GPS, K = 10, all blocks',
            method=dict(type='GPS', k=10, train_from=block),
        )
        for block in (0, 3, 6, 9)
    },
}
tune = {'optim_wrapper.optimizer.lr': [3e-4, 1e-3, 3e-3]}
extend = 'no'
reference = 'from_0'
control = None
