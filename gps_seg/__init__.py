"""GPS-Seg: fine-tune a segmentation model by moving the few weights that matter for its task."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gps_seg.delta import Delta
    from gps_seg.methods import METHODS
    from gps_seg.selection import Selection, neuron, selectable_weights, supcon_gradient
    from gps_seg.sparse import make_sparse, restore, trainable_summary

__version__ = '0.1.0.dev0'

# Imported when first used: the command line's help and the light commands need no torch.
_ROOMS = {
    'METHODS': 'methods',
    'Delta': 'delta',
    'Selection': 'selection',
    'make_sparse': 'sparse',
    'neuron': 'selection',
    'restore': 'sparse',
    'selectable_weights': 'selection',
    'supcon_gradient': 'selection',
    'trainable_summary': 'sparse',
}

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


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_ROOMS[name]}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
