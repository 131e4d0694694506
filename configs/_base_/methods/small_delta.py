# A delta of about one megabyte for SAM: entries are selected in the pretrained neck and in the mask
# decoder too, instead of training the decoder whole (17 MB in ViT-B), and beside them the biases
# alone are trained. Scored by the gradient of the segmentation loss, since a contrastive loss of
# the features says nothing of the decoder.
_base_ = '../default_runtime.py'
default_hooks = dict(
    fine_tune=dict(
        method=dict(
            type='Select',
            criterion='task_gradient',
            k=1,
            where=dict(heads=True),
            whole=['biases'],
        )
    )
)
