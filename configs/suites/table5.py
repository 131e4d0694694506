# GPS's Table 5: SAM ViT-B on Kvasir-SEG at 1024 pixels, every row with the optimizer and the
# learning rate that are known of it (configs/table5/*.py are the same, one training each). Needs a
# GPU.
title = "GPS's Table 5: SAM ViT-B on Kvasir-SEG"
notes = [
    'Nothing is tuned: one learning rate, 2e-4, is known for all, and it decides more than the '
    'method. The epoch is chosen on 80 held-out images.'
]
data = dict(kvasir_seg=dict())
models = {'sam-vit-b': dict(config='table5/gps_sam_kvasir')}
_adamw = {'optim_wrapper.optimizer.type': 'AdamW'}
methods = dict(
    full=dict(label='full', method=dict(type='Full'), options=_adamw),
    linear=dict(label='decoder (linear)', method=dict(type='Linear')),
    bias=dict(label='bias', method=dict(type='Bias')),
    adapter=dict(label='SAM-Adapter', method=dict(type='SAMAdapter'), options=_adamw),
    ssf=dict(label='SSF', method=dict(type='SSF'), options=_adamw),
    gps=dict(label='GPS (contrastive loss)', method=dict(type='GPS', k=1)),
    gps_task=dict(
        label='GPS (task loss)',
        method=dict(type='Select', criterion='task_gradient', granularity='neuron', k=1),
    ),
)
del _adamw
tune = {}
epochs = 20
seeds = [0]
validation = 'mDice'
tests = ['mDice', 'mIoU', 'pooled_Dice', 'classes_mDice']
checkpoint = 'best'
reference = 'full'
published = [
    dict(
        name='table5_sam',
        rows=dict(
            full='Full',
            linear='Linear',
            bias='Bias',
            adapter='Adapter',
            ssf='SSF',
            gps='GPS',
            gps_task='GPS',
        ),
    )
]
