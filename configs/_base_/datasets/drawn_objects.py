# Drawn everyday objects that `gps-seg demo --draw objects` writes; read like Kvasir-SEG.
_base_ = './kvasir_seg_256.py'

objects = dict(
    spec=None,
    root='drawn-objects',
    images='images/*.jpg',
    masks='masks/*.png',
    classes=('background', 'object'),
    palette=((0, 0, 0), (0, 255, 0)),
    split=None,
)
train_dataloader = dict(dataset=dict(ann_file='train.txt', **objects))
val_dataloader = dict(dataset=dict(ann_file='val.txt', **objects))
test_dataloader = dict(dataset=dict(ann_file='test.txt', **objects))

# A helper of this file, no setting.
del objects
