# FGVC by the protocol of the authors' code: every epoch is tested, and the best one is reported.
# Its scores are too high, and are called 'best test epoch' wherever they stand.
_base_ = './fgvc.py'
title = 'FGVC, ViT-B/16, the best test epoch'
checkpoint = 'best_test'
