"""Weight files of classifiers, through timm's own conversions."""

import copy
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from gps_seg.data_root import VARIABLE, data_path
from gps_seg.files.errors import one_line
from gps_seg.models.weights import read_weight_file

NPZ = '.npz'


def timm_state(body: nn.Module, source: str) -> dict[str, Tensor]:
    """The tensors of a weight file under the names that they have in a model of timm.

    body: the model, which stays as it is. source: relative to the data root: `.safetensors`, `.pth`
    or `.pt` of any layout that timm converts for this class, or Google's `.npz`. Positions (and
    whatever else timm resamples) get the sizes of the model, which the log says.

    Raises FileNotFoundError that names the next step, ValueError where the file is damaged or is
    not of this class.
    """
    if source.endswith(NPZ):
        return _npz_state(body, source)
    given = read_weight_file(source)
    convert = _conversion(body)
    if convert is None:
        return given
    try:
        # What timm resamples it also writes over.
        state = convert(dict(given), body)
    except Exception as error:  # of names and shapes that another class has
        raise ValueError(
            f'{source} is not of {type(body).__name__}: timm cannot convert it '
            f'({one_line(error)}); name the backbone that it was saved from'
        ) from error
    _log_resized(given, state, source)
    return state


def _conversion(body: nn.Module) -> Callable[..., dict[str, Tensor]] | None:
    """What timm converts the checkpoints of a class with, which stands beside the class."""
    module = sys.modules[type(body).__module__]
    return getattr(module, 'checkpoint_filter_fn', None)


def _log_resized(given: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    for name, tensor in state.items():
        if name in given and given[name].shape != tensor.shape:
            print_log(
                f'{source}: {name} resampled from {tuple(given[name].shape)} to '
                f'{tuple(tensor.shape)}, as timm does for another image size',
                logger='current',
            )


def _npz_state(body: Any, source: str) -> dict[str, Tensor]:
    """Google's checkpoint, read by timm into a copy whose every value shows whether it was read."""
    path = data_path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f'no weights at {path}; put them there, or set {VARIABLE} to the folder that holds '
            f'{source}'
        )
    if not hasattr(body, 'load_pretrained'):
        raise ValueError(f'{type(body).__name__} reads no .npz; give its .safetensors or .pth')
    reader = copy.deepcopy(body)
    with torch.no_grad():
        for parameter in reader.parameters():
            parameter.fill_(torch.nan)
    try:
        reader.load_pretrained(str(path))
    except Exception as error:  # an archive of another architecture, or none
        raise ValueError(
            f'{source} cannot be read as a checkpoint of {type(body).__name__} '
            f'({one_line(error)}); name the backbone that it belongs to'
        ) from error
    state = dict(reader.state_dict())
    return {name: tensor for name, tensor in state.items() if not bool(tensor.isnan().any())}
