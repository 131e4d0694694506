_base_ = './kvasir_seg.py'

image_size = 256
train_dataloader = dict(dataset=dict(image_size=image_size))
val_dataloader = dict(dataset=dict(image_size=image_size))
test_dataloader = dict(dataset=dict(image_size=image_size))
