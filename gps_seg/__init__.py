"""GPS-Seg: fine-tune a segmentation model by moving the few weights that matter for its task."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gps_seg.delta import Delta, Tasks
    from gps_seg.methods import METHODS, ModelParts, Plan, describe, part_names
    from gps_seg.prediction import load
    from gps_seg.selection import CRITERIA, GRANULARITIES, Selection
    from gps_seg.sparse import make_sparse, trainable_summary
    from gps_seg.tuning import Tuning, select, tune
    from gps_seg.tuning.prefix_cache import cache_prefix, turned

__version__ = '0.1.0.dev0'

# Imported when first used: the command line's help and the light commands need no torch.
_ROOMS = {
    'CRITERIA': 'selection',
    'GRANULARITIES': 'selection',
    'METHODS': 'methods',
    'Delta': 'delta',
    'ModelParts': 'methods',
    'Plan': 'methods',
    'Selection': 'selection',
    'Tasks': 'delta',
    'Tuning': 'tuning',
    'cache_prefix': 'tuning.prefix_cache',
    'describe': 'methods',
    'load': 'prediction',
    'make_sparse': 'sparse',
    'part_names': 'methods',
    'select': 'tuning',
    'trainable_summary': 'sparse',
    'tune': 'tuning',
    'turned': 'tuning.prefix_cache',
}

__all__ = [
    'CRITERIA',
    'GRANULARITIES',
    'METHODS',
    'Delta',
    'ModelParts',
    'Plan',
    'Selection',
    'Tasks',
    'Tuning',
    'cache_prefix',
    'describe',
    'load',
    'make_sparse',
    'part_names',
    'select',
    'trainable_summary',
    'tune',
    'turned',
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_ROOMS[name]}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
