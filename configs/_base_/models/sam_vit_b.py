"""SAM ViT-B from its official checkpoint, at 1024 pixels and without a prompt."""

model = dict(
    type='SAMSegmentor',
    arch='vit_b',
    image_size=1024,
    prompt='none',
    checkpoint='weights/sam_vit_b_01ec64.pth',
    loss=dict(type='BCESoftIoULoss'),
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size_divisor=16,
    ),
)
