# What a training step of SAM holds at 1024 pixels, batch 1: live tensor bytes beside the weights,
# counted, and by formula beside that. Needs a clone; --workers 1: some rows hold 12 GB.
title = "What SAM's training holds (batch 1, 1024 pixels, beside the weights)"
methods_measured = [
    'full',
    'full_recomputed',
    'lora',
    'gps',
    'gps_recomputed',
    'gps_last50',
    'gps_last25',
    'gps_last25_recomputed',
    'gps_last08',
    'linear',
]
selections = ['select_recomputed', 'select_last25', 'select_last25_recomputed']
by_formula = [method for method in methods_measured if method != 'lora']
measure = dict(
    function='tools.benchmarks.sam_memory:rows',
    cases={
        'b_fp32': dict(arch='vit_b', methods=methods_measured + selections),
        'b_bf16': dict(arch='vit_b', methods=methods_measured, amp=True),
        'l_fp32': dict(arch='vit_l', methods=by_formula, by='formula'),
        'l_bf16': dict(arch='vit_l', methods=by_formula, amp=True, by='formula'),
        'h_fp32': dict(arch='vit_h', methods=by_formula, by='formula'),
        'h_bf16': dict(arch='vit_h', methods=by_formula, amp=True, by='formula'),
    },
)
del methods_measured, selections, by_formula
