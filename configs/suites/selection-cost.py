# What choosing the entries costs, against a training step of the same images. Needs a clone.
title = 'What selecting costs (ViT-Tiny/16, 32 images of 224 pixels)'
measure = dict(
    function='tools.benchmarks.selection_cost:rows',
    cases=dict(vit_tiny=dict(batch=32, rounds=5)),
)
