"""Reading the toolkit's own training checkpoints without running foreign code."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

# What MMEngine's message hub puts into a checkpoint beside tensors and plain containers.
SAFE = [
    HistoryBuffer,
    np.ndarray,
    np.dtype,
    np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
    *(type(np.dtype(name)) for name in ('float64', 'float32', 'int64', 'int32', 'bool', 'uint8')),
]


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a training checkpoint that MMEngine wrote, to the CPU.

    Raises FileNotFoundError where there is none, ValueError where it is damaged or holds objects
    that are not read for safety.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'no checkpoint {path} to resume from')
    try:
        with torch.serialization.safe_globals(SAFE):
            return torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f'{path} cannot be read as a training checkpoint: {error}') from error
