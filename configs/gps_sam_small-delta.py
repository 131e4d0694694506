# SAM ViT-B with a delta of about one megabyte: gps_sam_kvasir.py with another method, which selects
# in the neck and the decoder too. Half the size with
#   --cfg-options default_hooks.delta.dtype=bfloat16
_base_ = [
    './_base_/models/sam_vit_b.py',
    './_base_/datasets/kvasir_seg.py',
    './_base_/schedules/adam_cosine.py',
    './_base_/methods/small_delta.py',
]
