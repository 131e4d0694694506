"""How the importance of an entry can be measured."""

from collections.abc import Callable

from gps_seg.selection.activation import weight_activation
from gps_seg.selection.data_free import magnitude, random
from gps_seg.selection.gradient import squared_gradient, supcon_gradient, task_gradient
from gps_seg.selection.scores import Scores

CRITERIA: dict[str, Callable[..., Scores]] = {
    'supcon_gradient': supcon_gradient,
    'task_gradient': task_gradient,
    'squared_gradient': squared_gradient,
    'weight_activation': weight_activation,
    'magnitude': magnitude,
    'random': random,
}

# What a criterion differentiates or runs: the embedding, or the model's own loss. The others look
# at no images.
OF_EMBEDDINGS = ('supcon_gradient', 'weight_activation')
OF_LOSS = ('task_gradient', 'squared_gradient')
