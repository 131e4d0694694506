# Table 5, GPS: K = 1 by the supervised contrastive loss, the paper's definition, over the training
# images. Adam, as the authors' script.
_base_ = ['../_base_/table5.py', '../_base_/methods/gps.py']
