# Kvasir-SEG at 512 pixels.
_base_ = './kvasir_seg.py'
train_dataloader = dict(dataset=dict(image_size=512))
val_dataloader = dict(dataset=dict(image_size=512))
test_dataloader = dict(dataset=dict(image_size=512))
