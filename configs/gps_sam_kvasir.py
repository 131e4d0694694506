# SAM ViT-B on Kvasir-SEG at 1024 pixels. As published: no prompt, one mask, the loss, batches of
# one image, Adam at 2e-4 with a cosine over 20 epochs, GPS at K=1 over the whole training
# split. Not as published: more augmentation than a horizontal flip, one epoch of warm-up,
# and an epoch that is chosen on held-out images.
_base_ = [
    './_base_/models/sam_vit_b.py',
    './_base_/datasets/kvasir_seg.py',
    './_base_/schedules/adam_cosine.py',
    './_base_/methods/gps.py',
]
