"""Train only the selected entries.

`make_sparse` converts a model in place and returns the handle to it. Compact values and weights may
be written by anybody, in whatever way torch offers: every reader sees it, or raises (see
`gps_seg.sparse.agreement`, which also names what is not covered: a write between a forward pass and
its backward pass that counts no version, and the replay of a captured CUDA graph).
"""

from gps_seg.sparse.convert import make_sparse
from gps_seg.sparse.engine import ENGINES, check_engine
from gps_seg.sparse.optimizer import refill_optimizer
from gps_seg.sparse.sparse_training import SparseTraining, SparseWeight
from gps_seg.sparse.trainable import (
    TrainableSummary,
    agree,
    is_sparse,
    read_back,
    sparse_weights,
    trainable_summary,
    whole_names,
)

__all__ = [
    'ENGINES',
    'SparseTraining',
    'SparseWeight',
    'TrainableSummary',
    'agree',
    'check_engine',
    'is_sparse',
    'make_sparse',
    'read_back',
    'refill_optimizer',
    'sparse_weights',
    'trainable_summary',
    'whole_names',
]
