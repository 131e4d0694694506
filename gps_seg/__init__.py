"""GPS-Seg: fine-tune a segmentation model by moving the few weights that matter for its task."""

from gps_seg.delta import Delta
from gps_seg.methods import METHODS
from gps_seg.selection import Selection, neuron, selectable_weights, supcon_gradient
from gps_seg.sparse import make_sparse, restore, trainable_summary

__version__ = '0.1.0.dev0'

__all__ = [
    'METHODS',
    'Delta',
    'Selection',
    'make_sparse',
    'neuron',
    'restore',
    'selectable_weights',
    'supcon_gradient',
    'trainable_summary',
]
