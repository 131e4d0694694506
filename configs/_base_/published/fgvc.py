# The recipe of GPS (arXiv:2312.10136) for fine-grained data sets, on ViT-B/16: the authors' scripts
# (gps_seg/bench/published/hyperparameters.csv, rows FGVC). What differs between data sets, K,
# learning rate, drop-path, EMA and batch size, is in the leaves.
#
# Protocol: tuned on val (gps-seg bench does it), trained on train and val together, tested once,
# at the last epoch. The authors' code tests every epoch and takes the best: that protocol is
# gps_vit-b16_cub_best-test-epoch.py, and `checkpoint = 'best_test'` of a suite.
_base_ = [
    '../models/vit_b16.py',
    '../datasets/fgvc.py',
    '../schedules/adam_cosine_100.py',
    '../methods/gps_classifier.py',
]
model = dict(smoothing=0.1, mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0))
train_dataloader = dict(dataset=dict(split='trainval'))
val_dataloader = val_cfg = val_evaluator = None
# EMA with a decay of 0.9998; its weights are what is tested and stored.
custom_hooks = [dict(type='EMAHook', momentum=0.0002)]
