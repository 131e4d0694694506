"""What the methods that select entries share."""

from torch import nn

from gps_seg.methods.parts import (
    backbone_biases,
    backbone_weights,
    fresh_names,
    head_names,
    scales_and_tables,
)
from gps_seg.selection import SelectableWeight, Selection
from gps_seg.sparse import make_sparse


def weights_to_select(model: nn.Module) -> list[SelectableWeight]:
    """The pretrained weights of the backbone. Raises ValueError where there are none."""
    weights = backbone_weights(model)
    if not weights:
        raise ValueError(
            'there is no pretrained weight to select from: every backbone weight starts fresh. '
            'Give the model its pretrained weights (checkpoint or encoder_weights), or use the '
            'method Full'
        )
    return weights


def train_selected(model: nn.Module, selection: Selection) -> None:
    """Train the selection, the backbone's biases, scales and tables, the head, what is fresh.

    Frozen stay the rest: normalisation layers, positions, class tokens (GPS, section 3.3).
    """
    whole = backbone_biases(model) | scales_and_tables(model)
    make_sparse(model, selection, whole=whole | head_names(model) | fresh_names(model))
