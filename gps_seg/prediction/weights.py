"""Bringing weights into a model that was just built: a base, a delta on it, or all of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import Tensor, nn

from gps_seg.data_root import data_path, existing_path
from gps_seg.delta import attach_added
from gps_seg.files import WRAPPER_KEYS, load_tensors
from gps_seg.prediction.sources import is_delta, no_weights, read_delta
from gps_seg.runner.base_weights import load_base_weights
from gps_seg.runner.checkpoints import read_checkpoint
from gps_seg.shipped import PREFIX
from gps_seg.tuning.own_files import is_own_files, load_files

# Where a config names the file of its base: in the model, then at the top.
IN_MODEL = ('checkpoint', 'encoder_weights', 'weights')


def with_base(config: Config, base: str | Path | None) -> None:
    """Let a config name its base where it lies on this machine, in place.

    base: the file to take instead of the one that the config names. Without it, a file that is not
    below the data root but relative to the working directory is found too.

    Raises FileNotFoundError for a `base` that is not there, ValueError for a config that names none
    to replace.
    """
    places = [(config.model, key) for key in IN_MODEL if config.model.get(key)]
    places += [(config, 'load_from')] if config.get('load_from') else []
    if base is not None:
        if not places:
            raise ValueError(
                'the config names no file of a base (model.checkpoint, model.encoder_weights or '
                f'load_from) that {base} could stand for'
            )
        owner, key = places[0]
        owner[key] = str(existing_path(base).resolve())
        return
    for owner, key in places:
        name = str(owner[key])
        if not name.startswith(PREFIX) and not data_path(name).is_file() and Path(name).is_file():
            owner[key] = str(Path(name).resolve())


def load_base(model: Any, config: Config) -> None:
    """Initialise a model as a training would, with the weights that its config names.

    Raises FileNotFoundError or ValueError where these are missing or do not fit.
    """
    load_base_weights(model, None if config.get('resume') else config.get('load_from'))


def load_weights(model: nn.Module, path: Path, config: Config) -> None:
    """Bring weights into a model: a delta or another library's files, onto the base that the config
    names, or a whole checkpoint.

    Raises what `no_weights` says, or ValueError where the weights do not fit.
    """
    if is_own_files(path):
        load_base(model, config)
        load_files(model, path)
        return
    if not path.is_file():
        raise no_weights(path)
    if is_delta(path):
        load_base(model, config)
        read_delta(path).swap(model)
        return
    state, added = read_state(path)
    if added:
        attach_added(model, added)
    differing = model.state_dict().keys() ^ state.keys()
    if differing:
        raise ValueError(
            f'{path} does not fit the model: {len(differing)} tensors stand in only one of the '
            f'two, such as {min(differing)}; was it trained with this config?'
        )
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f'{path} does not fit the model; was it trained with this config? {error}'
        ) from error


def read_state(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """The tensors of a whole checkpoint, and the modules that a training added (see `Delta`).

    Raises ValueError where the file is damaged or holds no state dict.
    """
    if path.suffix == '.safetensors':
        return load_tensors(path)[0], {}
    content: Any = read_checkpoint(path)
    plan = (content.get('fine_tune') or {}).get('plan') or {}
    added: Mapping[str, Any] = json.loads(plan.get('added', '{}'))
    while True:
        inner = next((content[k] for k in WRAPPER_KEYS if isinstance(content.get(k), dict)), None)
        if inner is None:
            break
        content = inner
    if not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f'{path} does not hold a state dict (names and tensors)')
    return content, added
