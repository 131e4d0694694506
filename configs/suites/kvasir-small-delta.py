# Kvasir-SEG with a small delta beside the one that holds the whole decoder: a ViT-Tiny SAM at 256
# pixels whose neck and decoder are pretrained on drawn objects (gps_sam-tiny-objects_kvasir-256.py
# says how). Fits two CPU cores.
_base_ = './kvasir-tiny.py'
title = 'Kvasir-SEG, small deltas of a ViT-Tiny SAM at 256 pixels'
notes = [
    'The neck and the decoder were pretrained on drawn objects, the encoder on ImageNet: better '
    'pretrained weights, such as those of SAM ViT-B, leave less to train.',
]
models = {
    '_delete_': True,
    'sam-tiny-objects-256': dict(config='gps_sam-tiny-objects_kvasir-256.py'),
}
select = dict(type='Select', criterion='task_gradient', where=dict(heads=True), whole=['biases'])
methods = dict(
    _delete_=True,
    whole=dict(label='GPS, K = 10, decoder whole', method=dict(type='GPS', k=10)),
    small_k10=dict(label='small delta, K = 10', method=dict(**select, k=10)),
    small_k1=dict(label='small delta, K = 1', method=dict(**select, k=1)),
)
extend = 'no'
reference = 'whole'
control = None

# A helper of this file, no setting.
del select
