# FPS, at as many entries as GPS has in gps_sam-tiny_kvasir-256.py.
_base_ = './gps_sam-tiny_kvasir-256.py'
default_hooks = dict(fine_tune=dict(method=dict(_delete_=True, type='FPS', k=10)))
