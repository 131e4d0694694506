"""Which entries of a model's weights matter for a task."""

from gps_seg.selection.budget import Budget
from gps_seg.selection.criteria import (
    CRITERIA,
    Magnitude,
    Random,
    SquaredGradient,
    SupconGradient,
    TaskGradient,
    WeightActivation,
    supcon_backward,
    supcon_loss,
)
from gps_seg.selection.granularity import (
    GRANULARITIES,
    auto,
    choose,
    columns,
    layer,
    net,
    neuron,
    rows,
)
from gps_seg.selection.model_state import preserved, random_state, set_random_state
from gps_seg.selection.scores import (
    Scores,
    SelectableWeight,
    selectable_weights,
    unselectable_weights,
)
from gps_seg.selection.scoring import Criterion, Progress, Reduce, Stop, score
from gps_seg.selection.selection import Entries, Selection, neuron_matrix
from gps_seg.selection.stability import UntilStable, agreement

__all__ = [
    'CRITERIA',
    'GRANULARITIES',
    'Budget',
    'Criterion',
    'Entries',
    'Magnitude',
    'Progress',
    'Random',
    'Reduce',
    'Scores',
    'SelectableWeight',
    'Selection',
    'SquaredGradient',
    'Stop',
    'SupconGradient',
    'TaskGradient',
    'UntilStable',
    'WeightActivation',
    'agreement',
    'auto',
    'choose',
    'columns',
    'layer',
    'net',
    'neuron',
    'neuron_matrix',
    'preserved',
    'random_state',
    'rows',
    'score',
    'selectable_weights',
    'set_random_state',
    'supcon_backward',
    'supcon_loss',
    'unselectable_weights',
]
