"""Which entries of a model's weights matter for a task."""

from gps_seg.selection.data_free import magnitude, random
from gps_seg.selection.gradient import supcon_gradient
from gps_seg.selection.granularity import neuron
from gps_seg.selection.scores import Scores, SelectableWeight, selectable_weights
from gps_seg.selection.selection import Entries, Selection, neuron_matrix
from gps_seg.selection.stability import UntilStable, agreement
from gps_seg.selection.supcon import supcon_backward, supcon_loss
from gps_seg.selection.undisturbed import random_state, set_random_state, undisturbed

__all__ = [
    'Entries',
    'Scores',
    'SelectableWeight',
    'Selection',
    'UntilStable',
    'agreement',
    'magnitude',
    'neuron',
    'neuron_matrix',
    'random',
    'random_state',
    'selectable_weights',
    'set_random_state',
    'supcon_backward',
    'supcon_gradient',
    'supcon_loss',
    'undisturbed',
]
