"""How the importance of an entry can be measured: one file a criterion."""

from gps_seg.selection.criteria.magnitude import Magnitude
from gps_seg.selection.criteria.random import Random
from gps_seg.selection.criteria.squared_gradient import SquaredGradient
from gps_seg.selection.criteria.supcon import supcon_backward, supcon_loss
from gps_seg.selection.criteria.supcon_gradient import SupconGradient
from gps_seg.selection.criteria.task_gradient import TaskGradient
from gps_seg.selection.criteria.weight_activation import WeightActivation
from gps_seg.selection.scoring import Criterion

CRITERIA: dict[str, type[Criterion]] = {
    'supcon_gradient': SupconGradient,
    'task_gradient': TaskGradient,
    'squared_gradient': SquaredGradient,
    'weight_activation': WeightActivation,
    'magnitude': Magnitude,
    'random': Random,
}

__all__ = [
    'CRITERIA',
    'Magnitude',
    'Random',
    'SquaredGradient',
    'SupconGradient',
    'TaskGradient',
    'WeightActivation',
    'supcon_backward',
    'supcon_loss',
]
