"""SAM with a ViT-Tiny encoder at 256 pixels and three classes, the background among them."""

_base_ = './sam_vit_tiny.py'
model = dict(num_classes=3, loss=dict(_delete_=True, type='MonaiDiceCELoss', batch=True))
