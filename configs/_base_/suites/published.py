# What the suites of published classification share: every method gets the same three learning
# rates, chosen on val by a training of half the length, then trains on train and val, and is tested
# once, at its last epoch. `checkpoint = 'best_test'` gives the protocol of the authors' code.
settings = {'train_dataloader.dataset.split': 'train'}
final = {'train_dataloader.dataset.split': 'trainval'}
tune = {'optim_wrapper.optimizer.lr': [3e-4, 1e-3, 3e-3]}
extend = 'each'
tune_epochs = 50
epochs = 100
seeds = [0, 1, 2]
validation = 'top1'
tests = ['top1', 'mean_class_accuracy']
checkpoint = 'last'
methods = dict(
    full=dict(label='full', method=dict(type='Full')),
    linear=dict(label='linear', method=dict(type='Linear')),
    bias=dict(label='bias', method=dict(type='Bias')),
    adapter=dict(label='Adapter', method=dict(type='Adapter', width=12)),
    lora=dict(label='LoRA, rank 16', method=dict(type='LoRA', rank=16, slices='qv')),
    vpt_shallow=dict(label='VPT-Shallow', method=dict(type='VPTShallow', num=200)),
    vpt_deep=dict(label='VPT-Deep', method=dict(type='VPTDeep', num=50)),
    ssf=dict(label='SSF', method=dict(type='SSF')),
    spt_adapter=dict(label='SPT-Adapter', method=dict(type='SPTAdapter', rank=8, k='$k')),
    spt_lora=dict(label='SPT-LoRA', method=dict(type='SPTLoRA', rank=8, k='$k')),
    random=dict(label='random', method=dict(type='Random', k='$k', seed='$seed')),
    gps=dict(label='GPS', method=dict(type='GPS', k='$k')),
)
reference = 'full'
control = 'random'
