"""Store only what changed."""

from gps_seg.delta.added import (
    ADDED_MODULES,
    AddedModule,
    added_module,
    attach_added,
    attached,
    build_added,
    detach_added,
    spec_of,
)
from gps_seg.delta.arithmetic import CONFLICTS, merge, scale
from gps_seg.delta.comparison import TensorComparison, compare
from gps_seg.delta.delta import Delta
from gps_seg.delta.fingerprint import fingerprint, short, tensor_digests
from gps_seg.delta.swapping import BASE_NAME, KIND
from gps_seg.delta.tasks import Tasks

__all__ = [
    'ADDED_MODULES',
    'BASE_NAME',
    'CONFLICTS',
    'KIND',
    'AddedModule',
    'Delta',
    'Tasks',
    'TensorComparison',
    'added_module',
    'attach_added',
    'attached',
    'build_added',
    'compare',
    'detach_added',
    'fingerprint',
    'merge',
    'scale',
    'short',
    'spec_of',
    'tensor_digests',
]
