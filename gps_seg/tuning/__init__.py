"""One fine-tuning, from the pretrained model to the delta, under every runner."""

from gps_seg.tuning.planning import make_plan
from gps_seg.tuning.selection_pass import ImageBatches, PassProgress, SelectionPass
from gps_seg.tuning.starting import select, start, tune
from gps_seg.tuning.trial_step import Trial
from gps_seg.tuning.tuning import Tuning

__all__ = [
    'ImageBatches',
    'PassProgress',
    'SelectionPass',
    'Trial',
    'Tuning',
    'make_plan',
    'select',
    'start',
    'tune',
]
