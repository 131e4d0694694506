_base_ = './kvasir_seg.py'

train_dataloader = dict(dataset=dict(image_size=256))
val_dataloader = dict(dataset=dict(image_size=256))
test_dataloader = dict(dataset=dict(image_size=256))
