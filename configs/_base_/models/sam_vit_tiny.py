"""SAM with a ViT-Tiny encoder from ImageNet at 256 pixels; all else starts fresh."""

model = dict(
    type='SAMSegmentor',
    arch='vit_tiny',
    image_size=256,
    prompt='none',
    encoder_weights='weights/vit_tiny_patch16_224.augreg.safetensors',
    fresh=('image_encoder.neck', '*.rel_pos_?', 'prompt_encoder', 'mask_decoder'),
    loss=dict(type='BCESoftIoULoss'),
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        size_divisor=16,
    ),
)
