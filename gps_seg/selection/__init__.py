"""Which entries of a model's weights matter for a task."""

from gps_seg.selection.activation import weight_activation
from gps_seg.selection.budget import Budget
from gps_seg.selection.criteria import CRITERIA, OF_EMBEDDINGS, OF_LOSS
from gps_seg.selection.data_free import magnitude, random
from gps_seg.selection.gradient import squared_gradient, supcon_gradient, task_gradient
from gps_seg.selection.granularity import (
    GRANULARITIES,
    auto,
    columns,
    layer,
    net,
    neuron,
    rows,
)
from gps_seg.selection.scores import Scores, SelectableWeight, selectable_weights
from gps_seg.selection.selection import Entries, Selection, neuron_matrix
from gps_seg.selection.supcon import supcon_backward, supcon_loss
from gps_seg.selection.undisturbed import random_state, set_random_state, undisturbed

__all__ = [
    'CRITERIA',
    'GRANULARITIES',
    'OF_EMBEDDINGS',
    'OF_LOSS',
    'Budget',
    'Entries',
    'Scores',
    'SelectableWeight',
    'Selection',
    'auto',
    'columns',
    'layer',
    'magnitude',
    'net',
    'neuron',
    'neuron_matrix',
    'random',
    'random_state',
    'rows',
    'selectable_weights',
    'set_random_state',
    'squared_gradient',
    'supcon_backward',
    'supcon_gradient',
    'supcon_loss',
    'task_gradient',
    'undisturbed',
    'weight_activation',
]
