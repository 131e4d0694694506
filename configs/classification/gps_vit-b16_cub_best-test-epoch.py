# GPS for ViT-B/16 on CUB-200-2011 by the protocol of the authors' code: every epoch is scored on the
# test images, and the best one is what is reported. Its scores are too high, since the test images
# chose; log and metrics.json say so beside them. Any other leaf takes the same five lines.
_base_ = './gps_vit-b16_cub.py'
val_dataloader = {{_base_.test_dataloader}}
val_evaluator = {{_base_.test_evaluator}}
val_cfg = dict(type='ValLoop')
