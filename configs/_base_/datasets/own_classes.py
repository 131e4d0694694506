# A folder of your own with a folder of images for each class. `gps-seg train --images DIR` names it
# in the three data sets, with the lists that it wrote.
_base_ = './fgvc.py'

train_dataloader = dict(dataset=dict(spec=None))
val_dataloader = dict(dataset=dict(spec=None))
test_dataloader = dict(dataset=dict(spec=None))
