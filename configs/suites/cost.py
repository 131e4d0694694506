# What a training step costs with each method: operations and bytes counted, times interleaved in
# one process. Needs a clone and the extra `peers`; run it with --workers 1 on a quiet machine.
title = 'What a training step costs (batch 4, 224 pixels, fp32, Adam)'
methods_measured = [
    'full',
    'linear',
    'bias',
    'gps',
    'gps_k4',
    'gps_k10',
    'gps_dense',
    'lora',
    'lora_qv',
    'adapter',
    'ssf',
    'vpt_shallow',
    'vpt_deep',
    'norm',
    'peft_lora',
    'shira',
    'supertuning',
    'gps_last50',
    'gps_last25',
    'gps_last50_cached',
    'gps_last25_cached',
    'peft_lora_last50',
    'peft_lora_last25',
]
measure = dict(
    function='tools.benchmarks.cost:rows',
    cases=dict(
        vit_b16=dict(model='vit_b16', methods=methods_measured, rounds=7),
        vit_tiny=dict(
            model='vit_tiny',
            # Those that choose by images, which are real there.
            methods=[*methods_measured, 'fps', 'grft', 'spt_lora', 'spt_adapter'],
            rounds=7,
        ),
    ),
)
del methods_measured
