# A folder of your own, described once; docs/your-images.md tells all keys. `gps-seg` commands hand
# `data` to the three data sets, and `image_size` to them and to the model.
_base_ = './kvasir_seg.py'

data = dict(
    root='',  # below the data root, or an absolute path
    images='images',
    masks='masks',
)
image_size = 1024

train_dataloader = dict(dataset=dict(spec=None, image_size=None))
val_dataloader = dict(dataset=dict(spec=None, image_size=None))
test_dataloader = dict(dataset=dict(spec=None, image_size=None))
