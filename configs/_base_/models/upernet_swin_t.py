"""MMSegmentation's UPerNet on a Swin-T (arXiv:2103.14030) with two classes; the heads start fresh.

The backbone's weights come from the address that MMSegmentation's own configs name.
"""

_base_ = 'mmseg::_base_/models/upernet_swin.py'

model = dict(
    data_preprocessor=dict(size_divisor=32),
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/'
            'swin_tiny_patch4_window7_224_20220317-1cdeb081.pth',
        )
    ),
    decode_head=dict(num_classes=2, out_channels=2, loss_decode=dict(avg_non_ignore=True)),
    auxiliary_head=dict(num_classes=2, out_channels=2, loss_decode=dict(avg_non_ignore=True)),
)
