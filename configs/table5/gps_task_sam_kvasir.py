# Table 5, GPS as the authors' SAM code selects: K = 1 by the decoder's own loss. Over the training
# images: that code takes the list that it also tests on.
_base_ = './gps_sam_kvasir.py'
default_hooks = dict(
    fine_tune=dict(
        method=dict(
            _delete_=True, type='Select', criterion='task_gradient', granularity='neuron', k=1
        )
    )
)
