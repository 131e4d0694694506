# Which blocks matter, as in Figs. 6a and 6b of GPS (arXiv:2312.10136): on CUB, nothing is selected
# in one block, or in the first blocks. Biases train everywhere. For a GPU.
_base_ = './fgvc.py'
title = 'Blocks left out of the selection, CUB-200-2011, ViT-B/16'
notes = [
    'The figures print no numbers. The paper says that leaving out block 2 or 4 costs most, and '
    'that leaving out more of the first blocks costs more. Blocks are counted from 0 here.',
]
data = dict(_delete_=True, cub=dict())
methods = {
    '_delete_': True,
    'gps': dict(label='GPS, all blocks', method=dict(type='GPS', k='$k')),
    **{
        f'without_{block}': dict(
            label=f'GPS without block {block}',
            method=dict(type='GPS', k='$k', where=dict(leave_out=[block])),
        )
        for block in range(12)
    },
    **{
        f'without_first_{num}': dict(
            label=f'GPS without the first {num}',
            method=dict(type='GPS', k='$k', where=dict(leave_out_first=num)),
        )
        for num in range(1, 12)
    },
}
means = dict(_delete_=True)
published = []
sweep = dict(
    x='block left out, or number of first blocks left out',
    points={
        **{f'without_{block}': ('one block', block) for block in range(12)},
        'gps': ('the first blocks', 0),
        **{f'without_first_{num}': ('the first blocks', num) for num in range(1, 12)},
    },
)
reference = 'gps'
control = None
