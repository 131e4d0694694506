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
from gps_seg.delta.delta import Delta
from gps_seg.delta.fingerprint import fingerprint, short, tensor_digests
from gps_seg.delta.swapping import BASE_NAME, KIND

__all__ = [
    'ADDED_MODULES',
    'BASE_NAME',
    'KIND',
    'AddedModule',
    'Delta',
    'added_module',
    'attach_added',
    'attached',
    'build_added',
    'detach_added',
    'fingerprint',
    'short',
    'spec_of',
    'tensor_digests',
]
