# Whole rows or columns, at no more entries than GPS has in gps_sam-tiny_kvasir-256.py.
_base_ = './gps_sam-tiny_kvasir-256.py'
default_hooks = dict(
    fine_tune=dict(method=dict(_delete_=True, type='GRFT', k=10, lines='auto', pull=1e-3))
)
