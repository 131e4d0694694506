"""Store only what changed."""

from gps_seg.delta.delta import BASE_NAME, KIND, Delta
from gps_seg.delta.fingerprint import fingerprint, short

__all__ = ['BASE_NAME', 'KIND', 'Delta', 'fingerprint', 'short']
