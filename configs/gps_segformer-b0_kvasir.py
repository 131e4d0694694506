# GPS for a SegFormer of MMSegmentation, at 512 pixels.
_base_ = [
    './_base_/models/segformer_b0.py',
    './_base_/datasets/kvasir_seg_512.py',
    './_base_/schedules/adam_cosine.py',
    './_base_/methods/gps.py',
]
train_dataloader = dict(batch_size=8)
default_hooks = dict(fine_tune=dict(method=dict(k=10)))
