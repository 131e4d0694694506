# GPS's scores ranked over the whole network, at as many entries as gps_sam-tiny_kvasir-256.py has.
_base_ = './gps_sam-tiny_kvasir-256.py'
default_hooks = dict(
    fine_tune=dict(method=dict(_delete_=True, type='Select', granularity='net', k=10))
)
