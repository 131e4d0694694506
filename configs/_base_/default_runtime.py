# What every run shares: logging, checkpoints, the report, reproducibility.
default_scope = 'mmseg'
custom_imports = dict(
    imports=['gps_seg.models', 'gps_seg.datasets', 'gps_seg.evaluation', 'gps_seg.hooks']
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # The selected method; a file of _base_/methods fills it in.
    fine_tune=dict(type='FineTuneHook'),
    epoch_seed=dict(type='EpochSeedHook'),
    # A line an epoch, metrics.csv and curves.png.
    epoch_line=dict(type='EpochLineHook'),
    # Stops where a loss or gradient is not finite, and names the images.
    finite=dict(type='FiniteHook'),
    # The best epoch by the main metric of the validation (mDice of masks, top1 of classes) becomes
    # delta.safetensors; save_best='...' names another.
    delta=dict(type='DeltaCheckpointHook'),
    # last.pth, from which --resume goes on exactly.
    checkpoint=dict(type='ResumableCheckpointHook', interval=1),
    # The base before training and the best epoch after it, on the test split.
    report=dict(type='ReportHook', zero_shot=True, num_pictures=6),
)
visualizer = dict(
    type='Visualizer',
    vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
)
log_processor = dict(by_epoch=True)
log_level = 'INFO'
randomness = dict(seed=0)
load_from = None
resume = False
# SAM's decoder holds parts (the other mask tokens) that a single mask never uses.
find_unused_parameters = True
