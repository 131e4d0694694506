"""Drawn images with masks: what the demo is pretrained on, and what it learns.

`draw_objects` and `draw_polyp` are pure: (generator, size) -> (image, mask).
"""

from gps_seg.datasets.procedural.folder import SUBJECTS, is_complete, write_drawings
from gps_seg.datasets.procedural.mosaic import four_scenes
from gps_seg.datasets.procedural.objects import draw_objects
from gps_seg.datasets.procedural.polyps import draw_polyp

__all__ = [
    'SUBJECTS',
    'draw_objects',
    'draw_polyp',
    'four_scenes',
    'is_complete',
    'write_drawings',
]
