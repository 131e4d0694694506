"""Hooks that bring fine-tuning methods into any MMEngine runner."""

from gps_seg.hooks.delta_checkpoint_hook import DeltaCheckpointHook
from gps_seg.hooks.epoch_line_hook import EpochLineHook
from gps_seg.hooks.epoch_seed_hook import EpochSeedHook
from gps_seg.hooks.fine_tune_hook import FineTuneHook
from gps_seg.hooks.finite_hook import FiniteHook
from gps_seg.hooks.report_hook import ReportHook
from gps_seg.hooks.resumable_checkpoint_hook import ResumableCheckpointHook
from gps_seg.hooks.resume_override_hook import ResumeOverrideHook
from gps_seg.runner import AutocastOptimWrapper  # registers itself for configs

__all__ = [
    'AutocastOptimWrapper',
    'DeltaCheckpointHook',
    'EpochLineHook',
    'EpochSeedHook',
    'FineTuneHook',
    'FiniteHook',
    'ReportHook',
    'ResumableCheckpointHook',
    'ResumeOverrideHook',
]
