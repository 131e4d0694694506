"""MMSegmentation's DeepLabV3+ on a ResNet-50 (arXiv:1802.02611) with two classes.

The backbone's weights come from the address that MMSegmentation's file names
(open-mmlab://resnet50_v1c); the heads start fresh.
"""

_base_ = 'mmseg::_base_/models/deeplabv3plus_r50-d8.py'

model = dict(
    data_preprocessor=dict(size_divisor=32),
    decode_head=dict(num_classes=2, out_channels=2, loss_decode=dict(avg_non_ignore=True)),
    auxiliary_head=dict(num_classes=2, out_channels=2, loss_decode=dict(avg_non_ignore=True)),
)
