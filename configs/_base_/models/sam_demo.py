"""The tiny SAM of the demo at 256 pixels; without a checkpoint all of it starts fresh."""

model = dict(
    type='SAMSegmentor',
    arch='demo',
    image_size=256,
    prompt='none',
    checkpoint=None,
    loss=dict(type='BCESoftIoULoss'),
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        size_divisor=16,
    ),
)
