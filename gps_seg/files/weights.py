"""Reading pickles of torch without running code, and state dicts in the formats of the field."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gps_seg.files.errors import one_line
from gps_seg.files.seals import is_sealed
from gps_seg.files.tensors import load_tensors

# Where the training frameworks of the field keep the weights inside a checkpoint.
WRAPPER_KEYS = ('state_dict', 'model', 'model_state_dict')
# A key of what is pickled and then sealed: says that there is a seal. A lost one is noticed.
SEALED = 'sealed'


def load_pickle(path: str | Path, safe: Sequence[Any] = ()) -> Any:
    """Read a file of `torch.save` to the CPU, its digest first where it is sealed.

    safe: further classes and functions that it may hold, as for `torch.serialization.safe_globals`.

    Raises FileNotFoundError where there is none, ValueError where it is damaged or holds objects
    that are not read for safety.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'no file {path}')
    sealed = is_sealed(path)
    try:
        with torch.serialization.safe_globals(list(safe)):
            content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # damaged bytes make an unpickler raise anything
        raise ValueError(
            f'{path} cannot be read as weights alone: it is damaged, or a pickle of more than '
            'tensors and plain values, which is not run here. Save its state dict as '
            f'.safetensors first ({one_line(error)})'
        ) from error
    if isinstance(content, dict) and content.get(SEALED) is True and not sealed:
        raise ValueError(f'{path} is damaged: its digest is lost; fetch or write it again')
    return content


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from `.safetensors`, `.pth` or `.pt`, on the CPU.

    Checkpoints that wrap the weights (`state_dict`, `model`, ...) are unwrapped. Pickles are read
    with `weights_only=True`, so that a file from elsewhere cannot run code.

    Raises FileNotFoundError where there is none, ValueError where the file is damaged or holds
    something other than named tensors.
    """
    path = Path(path)
    if path.suffix == '.safetensors':
        return load_tensors(path)[0]
    content = _unwrapped(load_pickle(path))
    if not isinstance(content, dict) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise ValueError(f'{path} does not hold a state dict (names and tensors)')
    return content


def _unwrapped(content: object) -> object:
    while isinstance(content, dict):
        inner = next((content[k] for k in WRAPPER_KEYS if isinstance(content.get(k), dict)), None)
        if inner is None:
            return content
        content = inner
    return content
