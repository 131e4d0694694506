"""What only an MMEngine runner needs: two-view data, ranks, strict checkpoints, progress."""

from gps_seg.runner.autocast_optim_wrapper import AutocastOptimWrapper
from gps_seg.runner.evaluate import evaluate

__all__ = ['AutocastOptimWrapper', 'evaluate']
