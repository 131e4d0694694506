# gps_sam-tiny_kvasir-256.py from a SAM that is pretrained whole, neck and decoder on drawn objects:
#   gps-seg demo --draw objects
#   gps-seg train linear_sam-tiny_objects-256.py
#   gps-seg export work_dirs/linear_sam-tiny_objects-256 \
#     -o data/weights/sam_vit_tiny_objects-256.safetensors
_base_ = './gps_sam-tiny_kvasir-256.py'
model = dict(
    checkpoint='weights/sam_vit_tiny_objects-256.safetensors', encoder_weights=None, fresh=()
)
