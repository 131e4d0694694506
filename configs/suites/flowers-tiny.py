# Oxford Flowers (the copy that has 90 of the 102 classes) with a ViT-Tiny: fits two CPU cores.
# Computed in bf16, which halves the time there. Every sparse method selects one entry for each
# neuron on average; LoRA of rank 3 on queries, keys and values has as many numbers (41,472) as GPS
# trains besides the head (41,856).
#
# One grid for all, of one and a half decades: what is best for full fine-tuning lies well below
# what is best for the head alone or for few entries, and three points have to reach both.
title = 'Oxford Flowers (90 classes), ViT-Tiny'
notes = [
    'A ViT-Tiny and a part of Flowers: this is no published task, and no score of it is '
    'comparable with a published one.',
]
data = dict(flowers=dict())
models = {'vit-tiny': dict(config='classification/gps_vit-tiny_flowers.py')}
methods = dict(
    full=dict(label='full', method=dict(type='Full')),
    linear=dict(label='linear', method=dict(type='Linear')),
    bias=dict(label='bias', method=dict(type='Bias')),
    lora=dict(label='LoRA, rank 3', method=dict(type='LoRA', rank=3, slices='qkv')),
    random=dict(label='random, K = 1', method=dict(type='Random', k=1, seed='$seed')),
    magnitude=dict(label='magnitude, K = 1', method=dict(type='Magnitude', k=1)),
    net=dict(
        label='net, K = 1',
        method=dict(type='Select', criterion='supcon_gradient', granularity='net', k=1),
    ),
    gps=dict(label='GPS, K = 1', method=dict(type='GPS', k=1)),
    fps=dict(label='FPS, K = 1', method=dict(type='FPS', k=1)),
    grft=dict(label='GRFT, K = 1', method=dict(type='GRFT', k=1, lines='auto', pull=1e-3)),
)
settings = {
    'optim_wrapper.type': 'AutocastOptimWrapper',
    # In bf16 on a CPU a step takes a third less.
    'model.fused_attention': False,
    'default_hooks.fine_tune.probe': False,
    # The paper's pass sees all training images; 256 take a third of the time.
    'default_hooks.fine_tune.selection_pass.num_images': 256,
}
tune = {'optim_wrapper.optimizer.lr': [3e-4, 2e-3, 1e-2]}
extend = 'no'
tune_epochs = 2
epochs = 5
seeds = [0, 1, 2]
validation = 'top1'
tests = ['top1', 'top5', 'mean_class_accuracy']
final = {'train_dataloader.dataset.split': 'trainval'}
checkpoint = 'last'
reference = 'full'
control = 'random'
