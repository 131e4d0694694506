"""Pictures: arrays in, images and matplotlib figures out; nothing global, nothing shown."""

from gps_seg.visualization.embeddings import embeddings_figure
from gps_seg.visualization.figures import save_figure, save_image
from gps_seg.visualization.overlaps import overlap_figure
from gps_seg.visualization.overlay import overlay_image, overlay_labels
from gps_seg.visualization.palette import class_colours
from gps_seg.visualization.plans import (
    blocks_figure,
    inputs_figure,
    layers_figure,
    shared_figure,
)
from gps_seg.visualization.sheet import overlay_sheet

__all__ = [
    'blocks_figure',
    'class_colours',
    'embeddings_figure',
    'inputs_figure',
    'layers_figure',
    'overlap_figure',
    'overlay_image',
    'overlay_labels',
    'overlay_sheet',
    'save_figure',
    'save_image',
    'shared_figure',
]
