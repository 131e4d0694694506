# SAM ViT-B on Kvasir-SEG at 1024 pixels. The selection is the paper's definition carried over to
# segmentation: K=1 by the supervised contrastive loss, over the whole training split, of features
# pooled over polyp and background. The authors' SAM code selects by the decoder's loss instead, on
# the list that it also tests on. As in that code: no prompt, one mask, the loss, batches of one
# image, Adam at 2e-4 with a cosine over 20 epochs. Other than there: more augmentation than a
# horizontal flip, one epoch of warm-up, and an epoch that is chosen on held-out images.
_base_ = [
    './_base_/models/sam_vit_b.py',
    './_base_/datasets/kvasir_seg.py',
    './_base_/schedules/adam_cosine.py',
    './_base_/methods/gps.py',
]
