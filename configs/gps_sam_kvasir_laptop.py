# gps_sam_kvasir.py for a laptop, or a GPU of 8 to 12 GB: the last quarter of the blocks, and one
# view at a time in the selection. Counted at 1024 pixels, batch 1, fp32: 0.9 GiB of tensors at the
# peak of a step, 358 MiB of them weights (docs/benchmarks.md, SAM in little memory). All blocks,
# train_from=0, hold 2.0 GiB.
_base_ = './gps_sam_kvasir.py'
default_hooks = dict(
    fine_tune=dict(method=dict(train_from=0.75), selection_pass=dict(micro_batch_size=1))
)
