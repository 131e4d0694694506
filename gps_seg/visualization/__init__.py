"""Pictures: arrays in, images and matplotlib figures out; nothing global, nothing shown."""

from gps_seg.visualization.figures import save_figure, save_image
from gps_seg.visualization.overlay import overlay_image
from gps_seg.visualization.sheet import overlay_sheet

__all__ = ['overlay_image', 'overlay_sheet', 'save_figure', 'save_image']
