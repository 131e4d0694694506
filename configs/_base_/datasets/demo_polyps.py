# Drawn endoscopy that `gps-seg demo` writes; read by the same code as Kvasir-SEG.
_base_ = './kvasir_seg_256.py'

polyps = dict(
    spec=None,
    root='demo-polyps',
    images='images/*.jpg',
    masks='masks/*.png',
    classes=('background', 'polyp'),
    palette=((0, 0, 0), (0, 255, 0)),
    split=None,
)
train_dataloader = dict(dataset=dict(ann_file='train.txt', **polyps))
val_dataloader = dict(dataset=dict(ann_file='val.txt', **polyps))
test_dataloader = dict(dataset=dict(ann_file='test.txt', **polyps))
