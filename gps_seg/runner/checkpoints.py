"""Training checkpoints of plain tensors, numbers and strings, which load without running code."""

from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler

from gps_seg.files import load_pickle

LAST = 'last.pth'


class _OneCycle:
    """Stands for MMEngine's class in a pickle: the two functions that its state refers to."""

    _annealing_cos = staticmethod(OneCycleParamScheduler._annealing_cos)
    _annealing_linear = staticmethod(OneCycleParamScheduler._annealing_linear)


_ATTRIBUTES = {
    **{
        (HistoryBuffer, name): getattr(HistoryBuffer, name)
        for name in HistoryBuffer()._statistics_methods
    },
    **{
        (_OneCycle, f'_annealing_{name}'): getattr(_OneCycle, f'_annealing_{name}')
        for name in ('cos', 'linear')
    },
}


def _listed_attribute(owner: Any, name: str) -> Any:
    """`getattr` for pickles, of nothing but what is listed."""
    if not isinstance(owner, type) or (owner, name) not in _ATTRIBUTES:
        raise ValueError(f'{name} of {owner} is not read from files')
    return _ATTRIBUTES[owner, name]


def safe_globals() -> list[Any]:
    """What checkpoints of MMEngine's own hooks hold beyond tensors: numbers, and their histories.

    For `torch.serialization.safe_globals`. None of it can be made to run code from a file.
    """
    reconstruct = np.empty(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [getattr(np.dtypes, name) for name in np.dtypes.__all__ if name != 'ObjectDType']
    rooms = ('numpy.core.multiarray', 'numpy._core.multiarray')  # NumPy 1 and 2
    return [
        HistoryBuffer,
        (_OneCycle, 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'),
        (_listed_attribute, 'builtins.getattr'),
        *((reconstruct, f'{room}._reconstruct') for room in rooms),
        *((scalar, f'{room}.scalar') for room in rooms),
        np.ndarray,
        np.dtype,
        *dtypes,
    ]


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a training checkpoint to the CPU, its digest first where it has one.

    Raises FileNotFoundError where there is none, ValueError where it is damaged or holds objects
    that are not read for safety.
    """
    content = load_pickle(path, safe_globals())
    if not isinstance(content, dict):
        raise ValueError(f'{path} is no checkpoint: it holds a {type(content).__name__}')
    return content


def plain(value: Any) -> Any:
    """The value without what only code could read back, in any container.

    NumPy's scalars and arrays become Python numbers and lists. Functions in a dict are left out:
    whoever loads the state has them from its constructor.
    """
    if isinstance(value, dict):
        kind = type(value) if type(value) in (Counter, OrderedDict) else dict
        return kind({key: plain(item) for key, item in value.items() if not callable(item)})
    if isinstance(value, list | tuple):
        kind_of_list = list if isinstance(value, list) else tuple
        return kind_of_list(plain(item) for item in value)
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def without_objects(hub_state: dict[str, Any]) -> dict[str, Any]:
    """The state of MMEngine's message hub with its history buffers as lists."""
    scalars = {
        name: {'history': plain(buffer.data), 'max_length': buffer.max_length}
        for name, buffer in hub_state['log_scalars'].items()
    }
    return plain({**hub_state, 'log_scalars': scalars})


def with_objects(hub_state: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `without_objects`; buffers that are objects already stay."""
    scalars = {
        name: HistoryBuffer(*content['history'], content['max_length'])
        if isinstance(content, dict)
        else content
        for name, content in hub_state['log_scalars'].items()
    }
    return {**hub_state, 'log_scalars': scalars}
