# Cost of training and test of the published methods, as in Fig. 4 of GPS (arXiv:2312.10136). Needs
# a clone; run it with --workers 1 on a quiet machine, best one with a GPU. Its picture is cost.png.
title = 'What the published methods cost (batch 32, 224 pixels, fp32, Adam)'
methods_measured = [
    'full',
    'linear',
    'bias',
    'adapter',
    'lora_qv',
    'vpt_shallow',
    'vpt_deep',
    'ssf',
    'gps',
]
measure = dict(
    function='tools.benchmarks.paper_cost:rows',
    cases=dict(
        vit_b16=dict(model='vit_b16', methods=methods_measured),
        vit_tiny=dict(model='vit_tiny', methods=methods_measured),
    ),
)
del methods_measured
