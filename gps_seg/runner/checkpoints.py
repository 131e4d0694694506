"""Training checkpoints of plain tensors, numbers and strings, which load without running code."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a training checkpoint to the CPU.

    Raises FileNotFoundError where there is none, ValueError where it is damaged or holds objects
    that are not read for safety.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'no checkpoint {path}')
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f'{path} is damaged, or holds more than tensors and plain values, which are not read '
            f'for safety: {reason}'
        ) from error


def plain(value: Any) -> Any:
    """The value with NumPy's scalars and arrays as Python numbers and lists, in any container."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(item) for item in value)
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
