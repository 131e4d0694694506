# The recipe of GPS (arXiv:2312.10136) for VTAB-1k, on ViT-B/16: the authors' scripts
# (gps_seg/bench/published/hyperparameters.csv, rows VTAB-1k), without augmentation, mixup,
# smoothing and EMA. Learning rate, batch size and drop-path are in the leaves, and K where it is
# not 1.
#
# Protocol: tuned on val200 (gps-seg bench does it), trained on train800val200, tested once, at the
# last epoch. The authors' code tests every epoch and takes the best.
_base_ = [
    '../models/vit_b16.py',
    '../datasets/vtab.py',
    '../schedules/adam_cosine_100.py',
    '../methods/gps_classifier.py',
]
train_dataloader = dict(dataset=dict(split='trainval'))
val_dataloader = val_cfg = val_evaluator = None
