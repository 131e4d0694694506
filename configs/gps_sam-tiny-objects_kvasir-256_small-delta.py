# gps_sam_small-delta.py for the ViT-Tiny SAM: entries are selected in neck and decoder too, and
# beside them the biases alone are trained. The method is that of _base_/methods/small_delta.py.
_base_ = './gps_sam-tiny-objects_kvasir-256.py'
default_hooks = dict(
    fine_tune=dict(
        method=dict(
            _delete_=True,
            type='Select',
            criterion='task_gradient',
            k=10,
            where=dict(heads=True),
            whole=['biases'],
        )
    )
)
