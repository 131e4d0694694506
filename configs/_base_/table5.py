# What every row of GPS's Table 5 shares: SAM ViT-B on Kvasir-SEG, as far as it is known. From the
# authors' public code: 1024 pixels, squashed to a square; no prompt, one mask; BCE + (1 - soft
# IoU); 20 epochs of batches of one image; a horizontal flip; 2e-4 with a cosine to 1e-7 by epochs,
# no warm-up, no weight decay. Other than there: the images of validation choose the epoch, not
# those of the test, and background counts. The paper itself gives none of these settings for SAM.
_base_ = [
    './models/sam_vit_b.py',
    './datasets/kvasir_seg.py',
    './schedules/adam_cosine.py',
]
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImage'),
            dict(type='LoadMask'),
            dict(type='SquashResize'),
            dict(type='Augment', transforms=[dict(type='HorizontalFlip', p=0.5)]),
            dict(type='PackSegInputs'),
        ]
    )
)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=1e-7, by_epoch=True)]
