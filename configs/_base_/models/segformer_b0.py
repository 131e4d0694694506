"""MMSegmentation's SegFormer-B0 (arXiv:2105.15203) with two classes; the head starts fresh.

The backbone's weights are MMSegmentation's conversion, mit_b0_20220624-7e0fe6dd.pth, from
https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/; put it into weights/ of the
data root.
"""

_base_ = 'mmseg::_base_/models/segformer_mit-b0.py'

model = dict(
    data_preprocessor=dict(size_divisor=32),
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='weights/mit_b0_20220624-7e0fe6dd.pth')
    ),
    decode_head=dict(num_classes=2, out_channels=2, loss_decode=dict(avg_non_ignore=True)),
)
