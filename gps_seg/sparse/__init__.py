"""Train only the selected entries."""

from gps_seg.sparse.convert import (
    TrainableSummary,
    is_sparse,
    make_sparse,
    read_back,
    restore,
    sparse_weights,
    trainable_summary,
    whole_names,
    write_back,
)
from gps_seg.sparse.optimizer import hold_trainable
from gps_seg.sparse.probe import ProbeReport, probe_gradients
from gps_seg.sparse.pull import attach_pull, detach_pull, pull_loss

__all__ = [
    'ProbeReport',
    'TrainableSummary',
    'attach_pull',
    'detach_pull',
    'hold_trainable',
    'is_sparse',
    'make_sparse',
    'probe_gradients',
    'pull_loss',
    'read_back',
    'restore',
    'sparse_weights',
    'trainable_summary',
    'whole_names',
    'write_back',
]
