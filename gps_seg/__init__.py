"""GPS-Seg: fine-tune a segmentation model by moving the few weights that matter for its task."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gps_seg.delta import Delta
    from gps_seg.methods import METHODS, part_names, select
    from gps_seg.selection import (
        CRITERIA,
        GRANULARITIES,
        Selection,
        neuron,
        selectable_weights,
        supcon_gradient,
    )
    from gps_seg.sparse import attach_pull, make_sparse, pull_loss, restore, trainable_summary

__version__ = '0.1.0.dev0'

# Imported when first used: the command line's help and the light commands need no torch.
_ROOMS = {
    'CRITERIA': 'selection',
    'GRANULARITIES': 'selection',
    'METHODS': 'methods',
    'Delta': 'delta',
    'Selection': 'selection',
    'attach_pull': 'sparse',
    'make_sparse': 'sparse',
    'neuron': 'selection',
    'part_names': 'methods',
    'pull_loss': 'sparse',
    'restore': 'sparse',
    'select': 'methods',
    'selectable_weights': 'selection',
    'supcon_gradient': 'selection',
    'trainable_summary': 'sparse',
}

__all__ = [
    'CRITERIA',
    'GRANULARITIES',
    'METHODS',
    'Delta',
    'Selection',
    'attach_pull',
    'make_sparse',
    'neuron',
    'part_names',
    'pull_loss',
    'restore',
    'select',
    'selectable_weights',
    'supcon_gradient',
    'trainable_summary',
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_ROOMS[name]}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
