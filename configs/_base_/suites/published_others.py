# The methods that the papers ran on Swin-B and ConvNeXt-B.
_base_ = './published.py'
methods = dict(
    _delete_=True,
    full=dict(label='full', method=dict(type='Full')),
    linear=dict(label='linear', method=dict(type='Linear')),
    bias=dict(label='bias', method=dict(type='Bias')),
    adapter=dict(label='Adapter', method=dict(type='Adapter', width=12)),
    ssf=dict(label='SSF', method=dict(type='SSF')),
    random=dict(label='random', method=dict(type='Random', k='$k', seed='$seed')),
    gps=dict(label='GPS', method=dict(type='GPS', k='$k')),
)
