# GPS for UPerNet of MMSegmentation on a ConvNeXt-T (arXiv:2201.03545), at 512 pixels. The backbone
# is of mmpretrain (the extra mmpretrain); its weights come from the address that
# MMSegmentation's own configs name.
_base_ = './gps_upernet-swin-t_kvasir.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.ConvNeXt',
        arch='tiny',
        out_indices=[0, 1, 2, 3],
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        gap_before_final_norm=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/convnext/downstream/'
            'convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth',
            prefix='backbone.',
        ),
    )
)
