"""Drawn images with masks: what the demo is pretrained on, and what it learns.

`draw_objects` and `draw_polyp` are pure: (generator, size) -> (image, mask).
"""

from gps_seg.datasets.procedural.folder import NUM_IMAGES, is_complete, write_polyps
from gps_seg.datasets.procedural.mosaic import four_scenes
from gps_seg.datasets.procedural.objects import draw_objects
from gps_seg.datasets.procedural.polyps import draw_polyp

__all__ = ['NUM_IMAGES', 'draw_objects', 'draw_polyp', 'four_scenes', 'is_complete', 'write_polyps']
