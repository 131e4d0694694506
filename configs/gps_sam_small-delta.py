# SAM ViT-B with a delta of about one megabyte: entries are selected in the pretrained neck and in
# the mask decoder too, instead of training the decoder whole (17 MB), and beside them the biases
# alone are trained. Scored by the gradient of the segmentation loss, since a contrastive loss of
# the features says nothing of the decoder. Half the size with
#   --cfg-options default_hooks.delta.dtype=bfloat16
_base_ = './gps_sam_kvasir.py'
default_hooks = dict(
    fine_tune=dict(
        method=dict(
            _delete_=True,
            type='Select',
            criterion='task_gradient',
            k=1,
            where=dict(heads=True),
            whole=['biases'],
        )
    )
)
