# SAM ViT-B on Kvasir-SEG that answers prompts afterwards as before: trained without a prompt and
# with boxes, points and masks about each polyp, on images of their own proportions, as stock tools
# of segment_anything give them to SAM. The method of the small delta moves less of the decoder than
# training it whole does, and so keeps more of the answers about other images (docs/promptable.md).
# The report scores every kind of prompt before and after.
_base_ = './gps_sam_small-delta.py'

# The base's, without the one box: ObjectPrompts makes prompts of its own.
pack = dict(
    type='PackSegInputs',
    meta_keys=tuple(key for key in _base_.test_pipeline[-1].meta_keys if key != 'box_prompt'),
)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='LoadObjects'),
    dict(type='LongestSideResize'),
    dict(type='Augment', transforms={{_base_.augmentations}}),
    dict(type='ObjectPrompts', max_objects=8),
    {**pack, 'type': 'PackObjects'},
]
# The masks and objects are loaded after the resizing: scores are taken at the original size.
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='LongestSideResize'),
    dict(type='LoadMask'),
    dict(type='LoadObjects'),
    pack,
]
model = dict(
    prompt='mixed',
    prompt_rounds=3,
    data_preprocessor=dict(
        _delete_=True,
        type='SAMDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
default_hooks = dict(report=dict(prompts=dict(automatic_images=20)))

# A helper of this file, no setting.
del pack
