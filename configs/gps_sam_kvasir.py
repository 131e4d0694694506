# SAM ViT-B on Kvasir-SEG at 1024 pixels, the published recipe: no prompt, one mask, GPS at K=1.
_base_ = [
    './_base_/models/sam_vit_b.py',
    './_base_/datasets/kvasir_seg.py',
    './_base_/schedules/adam_cosine.py',
    './_base_/methods/gps.py',
]
